"""Tables as files for spreadsheets, in which nothing that a visitor wrote becomes a formula."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from litestar import Response

_FORMULA = re.compile(r"^(?=[\t\r\n])|(?:^|(?<=[;\t\r\n]))(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where spreadsheets take what follows for a formula, some also in wide signs.

Not only at the beginning: where a comma stands within numbers, they separate cells at semicolons.
"""


def csv_file(
    name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> Response[bytes]:
    """A download called `name`, with the mark by which spreadsheets know UTF-8. None is an empty cell."""
    file = io.StringIO(newline="")
    table = csv.writer(file)
    table.writerow(columns)
    table.writerows([_cell(each) for each in row] for row in rows)
    return Response(
        b"\xef\xbb\xbf" + file.getvalue().encode("utf-8", "replace"),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return _FORMULA.sub("'", value) if isinstance(value, str) else value
