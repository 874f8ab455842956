"""Rules that a template's author writes in a <style> reach mail programs that know no <style>."""

import re
import socket
from pathlib import Path

import pytest

from relay.files import shipped as shipped_file
from relay.rendering.built_in_wording import may_have_rules
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.templates import MAX_HTML
from tests.templates.conftest import Written
from tests.templates.reading import every_template, shown, told

MAIL = '{% extends "_parts/mail.html" %}'


def mail(written: Written, body: str, kind: str = "missed") -> str:
    return told("chat", made_up_chats()[kind], written({"chat/body.html": body})).html


def test_a_class_of_ones_own_is_written_into_the_elements_it_stands_on(written: Written) -> None:
    html = mail(
        written,
        MAIL
        + "{% block style %}<style>.promo{color:#067647;font-weight:700} td p.promo{margin:4px}</style>{% endblock %}"
        + '{% block lead %}<p class="promo">Call back today</p>{% endblock %}',
    )
    assert '<p class="promo" style="color: #067647;font-weight: 700;margin: 4px;">' in html
    assert ".promo" not in html


@pytest.mark.parametrize(
    "tag",
    [
        "<STYLE>",
        '<style media="all">',
        '<style {% if chat.offline %}data-css-inline="ignore"{% endif %}>',
        "{% set kind = 'style' %}<style>",
    ],
)
def test_a_style_is_found_however_it_is_written(written: Written, tag: str) -> None:
    own = written(
        {
            "chat/body.html": MAIL + '{% block lead %}{% include "own.txt" %}{% endblock %}',
            "chat/own.txt": f'{tag}.promo{{color:#067647}}</style><p class="promo">Call back</p>',
        }
    )
    html = told("chat", made_up_chats()["missed"], own).html
    assert '<p class="promo" style="color: #067647;">' in html


def test_what_cannot_be_inlined_stays_in_its_style(written: Written) -> None:
    rules = "a.promo:hover{color:red}@media (max-width:600px){.promo{font-size:20px!important}}"
    html = mail(
        written,
        MAIL
        + f"{{% block style %}}<style>.promo{{color:#067647}}{rules}</style>{{% endblock %}}"
        + '{% block lead %}<a class="promo" href="https://example.com/">Shop</a>{% endblock %}',
    )
    assert "a.promo:hover" in html
    assert "@media (max-width:600px){.promo{font-size:20px!important}}" in html
    assert 'style="color: #067647;"' in html


def test_dark_mode_outlooks_tables_and_the_preheader_survive_rules_of_ones_own(
    written: Written,
) -> None:
    html = mail(
        written, MAIL + "{% block style %}<style>h1{color:#067647!important}</style>{% endblock %}"
    )
    page = shown(html.replace("<tbody>", "").replace("</tbody>", ""))
    assert "Marta Nowak waited" in page.text
    for kept in ("@media (prefers-color-scheme:dark)", "<!--[if mso]><table", "mso-hide:all"):
        assert kept in html
    assert "color: #067647 !important" in html


def test_no_shipped_file_has_rules_so_that_mails_are_not_looked_through() -> None:
    files = [path for path in shipped_file("templates").rglob("*.*") if path.is_file()]
    assert files
    assert [path.name for path in files if may_have_rules(path.read_text(encoding="utf-8"))] == []


def test_a_mail_without_rules_of_its_own_goes_out_as_it_was_written(written: Written) -> None:
    assert mail(written, MAIL) == told("chat", made_up_chats()["missed"]).html


def test_nothing_is_read_or_fetched_for_styles(written: Written, tmp_path: Path) -> None:
    secret = tmp_path / "secret.css"
    secret.write_text("h1{background:#123456}", encoding="utf-8")
    linked = (
        f'<link rel="stylesheet" href="{secret}"><link rel="stylesheet" href="{secret.as_uri()}">'
    )
    imported = f"<style>@import url('{secret.as_uri()}'); h1{{padding:1px}}</style>"
    with socket.create_server(("127.0.0.1", 0)) as web:
        far = f"http://127.0.0.1:{web.getsockname()[1]}/far.css"
        linked += f'<link rel="stylesheet" href="{far}"><style>@import url("{far}");</style>'
        html = mail(written, MAIL + f"{{% block style %}}{linked}{imported}{{% endblock %}}")
        web.settimeout(0)
        with pytest.raises(BlockingIOError):  # nobody called
            web.accept()
    assert "padding: 1px" in html
    assert "#123456" not in html


@every_template
def test_one_file_gives_all_mails_a_colour(name: str, written: Written) -> None:
    """As docs/templates.md shows it."""
    rules = "<style>.btn,.btn-a{background-color:#067647!important;border-color:#067647!important}</style>"
    templates = written({"_parts/style.html": rules})
    html = told(name, made_up_chats()["missed"], templates).html
    (button,) = re.findall(r'<td class="btn"[^>]*>', html)
    (style,) = re.findall(r'style="([^"]*)"', button)
    assert "background-color: #067647 !important" in style
    assert "#3538cd" not in style


@every_template
@pytest.mark.parametrize("kind", ["hostile", "very_long"])
def test_the_size_counts_with_the_styles_inlined(name: str, kind: str, written: Written) -> None:
    """A rule for every message makes a long chat far longer: less of it is shown then."""
    rule = "".join(f"--spare-{number}:{'x' * 30};" for number in range(40))
    templates = written(
        {
            f"{name}/body.html": MAIL
            + f"{{% block style %}}<style>.v,.a{{{rule}}}</style>{{% endblock %}}"
        }
    )
    notification = told(name, made_up_chats()[kind], templates)
    assert len(notification.html.encode()) <= MAX_HTML
    assert notification.attachment
    assert "left out" in shown_text(notification.html)


def shown_text(html: str) -> str:
    return shown(html.replace("<tbody>", "").replace("</tbody>", "")).text


def test_hostile_words_stay_words_when_styles_are_inlined(written: Written) -> None:
    html = mail(
        written, MAIL + "{% block style %}<style>p{margin:1px}</style>{% endblock %}", "hostile"
    )
    page = shown(html.replace("<tbody>", "").replace("</tbody>", ""))
    assert "<script>alert(1)</script>" in page.text
    assert "script" not in page.tags
