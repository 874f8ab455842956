"""How Teams dresses a card, in its light and its dark theme. Everything hangs on the class `teams-card`."""

TEAMS_CSS = """\
.teams-card { --ink: #242424; --soft: #616161; --line: #e0e0e0; --paper: #ffffff; --shade: #f5f5f5;
  --accent: #4f52b2; --good: #0e700e; --warning: #8a5a00; --attention: #b10e1c;
  --accent-back: #e8ebfa; --good-back: #e7f2da; --warning-back: #fbf6d9; --attention-back: #fdf3f4;
  display: grid; grid-template-columns: 32px 1fr; gap: 0 8px; color: var(--ink);
  font: 14px/20px "Segoe UI", system-ui, -apple-system, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere; }
.teams-card .avatar { width: 32px; height: 32px; border-radius: 50%; background: #6264a7; color: #fff;
  display: grid; place-items: center; font-weight: 600; }
.teams-card .post { min-width: 0; }
.teams-card .by { font-size: 12px; line-height: 16px; margin: 0 0 4px; }
.teams-card .by b { font-weight: 600; }
.teams-card .time { color: var(--soft); }
.teams-card .card { background: var(--paper); border: 1px solid var(--line); border-radius: 6px;
  padding: 16px; max-width: 464px; box-shadow: 0 1px 2px rgb(0 0 0 / 14%); overflow: hidden; }
.teams-card .card.full { max-width: none; }
.teams-card .card + .card { margin-top: 8px; }
.teams-card .element { margin-top: 8px; min-width: 0; }
.teams-card .element:first-child { margin-top: 0; }
.teams-card .element.space-none:not(:first-child) { margin-top: 0; }
.teams-card .element.space-small:not(:first-child) { margin-top: 4px; }
.teams-card .element.space-medium:not(:first-child) { margin-top: 16px; }
.teams-card .element.space-large:not(:first-child) { margin-top: 24px; }
.teams-card .element.space-extraLarge:not(:first-child) { margin-top: 32px; }
.teams-card .element.space-padding:not(:first-child) { margin-top: 16px; }
.teams-card .element.line:not(:first-child) { border-top: 1px solid var(--line); padding-top: 8px; }
.teams-card .element.side-center { text-align: center; }
.teams-card .element.side-right { text-align: right; }
.teams-card .element.bleed { margin-inline: -16px; }
.teams-card .card > .element.bleed:first-child { margin-top: -16px; }
.teams-card .card > .element.bleed:last-child { margin-bottom: -16px; }
.teams-card .element.bleed > .container { padding-inline: 16px; border-radius: 0; }
.teams-card .one-line, .teams-card .one-line p { white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.teams-card p { margin: 0; }
.teams-card ul, .teams-card ol { margin: 0; padding-left: 24px; }
.teams-card b, .teams-card .bolder { font-weight: 600; }
.teams-card .lighter { font-weight: 300; }
.teams-card .italic { font-style: italic; }
.teams-card .underline { text-decoration: underline; }
.teams-card .strikethrough { text-decoration: line-through; }
.teams-card .highlight { background: #ffee94; color: #242424; }
.teams-card .mono, .teams-card pre { font-family: Consolas, Menlo, monospace; }
.teams-card .size-small { font-size: 12px; line-height: 16px; }
.teams-card .size-medium { font-size: 14px; line-height: 20px; }
.teams-card .size-large { font-size: 18px; line-height: 24px; }
.teams-card .size-extraLarge { font-size: 24px; line-height: 32px; }
.teams-card .subtle, .teams-card .color-light { color: var(--soft); }
.teams-card .color-accent, .teams-card a, .teams-card .at { color: var(--accent); }
.teams-card .color-good { color: var(--good); }
.teams-card .color-warning { color: var(--warning); }
.teams-card .color-attention { color: var(--attention); }
.teams-card .color-accent.subtle, .teams-card .color-good.subtle, .teams-card .color-warning.subtle,
.teams-card .color-attention.subtle { opacity: .8; }
.teams-card a { text-decoration: none; }
.teams-card a > .container { color: var(--ink); }
.teams-card a:hover { text-decoration: underline; }
.teams-card [class*="style-"] { padding: 12px; border-radius: 4px; }
.teams-card .style-emphasis { background: var(--shade); }
.teams-card .style-accent { background: var(--accent-back); }
.teams-card .style-good { background: var(--good-back); }
.teams-card .style-warning { background: var(--warning-back); }
.teams-card .style-attention { background: var(--attention-back); }
.teams-card dl { display: grid; grid-template-columns: fit-content(40%) 1fr; gap: 2px 12px; margin: 0; }
.teams-card dt { font-weight: 600; }
.teams-card dd { margin: 0; min-width: 0; }
.teams-card .columns { display: flex; gap: 8px; }
.teams-card .column { min-width: 0; }
.teams-card .column.auto { flex: none; max-width: 60%; }
.teams-card .weight-1 { flex: 1 1 0; } .teams-card .weight-2 { flex: 2 1 0; }
.teams-card .weight-3 { flex: 3 1 0; } .teams-card .weight-4 { flex: 4 1 0; }
.teams-card .weight-5 { flex: 5 1 0; } .teams-card .weight-6 { flex: 6 1 0; }
.teams-card .weight-7 { flex: 7 1 0; } .teams-card .weight-8 { flex: 8 1 0; }
.teams-card .weight-9 { flex: 9 1 0; } .teams-card .weight-10 { flex: 10 1 0; }
.teams-card .actions { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 16px; }
.teams-card .button { display: inline-block; border: 1px solid var(--line); border-radius: 4px;
  padding: 5px 12px; color: var(--ink); font-weight: 600; max-width: 100%; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; }
.teams-card .button.positive { background: #5b5fc7; border-color: #5b5fc7; color: #fff; }
.teams-card .button.destructive { color: var(--attention); border-color: var(--attention); }
.teams-card pre { background: var(--shade); padding: 8px; margin: 0; white-space: pre-wrap; }
.teams-card .unknown { background: var(--shade); color: var(--soft); border: 1px dashed var(--line);
  border-radius: 4px; padding: 6px 10px; margin-top: 8px; font-size: 13px; }
@media (prefers-color-scheme: dark) {
  .teams-card { --ink: #ffffff; --soft: #adadad; --line: #484848; --paper: #292929; --shade: #333333;
    --accent: #9299f7; --good: #92c353; --warning: #f8d22a; --attention: #f9526b;
    --accent-back: #2f2f4a; --good-back: #1f2e14; --warning-back: #3a3213; --attention-back: #3b1519; }
}
"""
