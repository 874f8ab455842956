"""Tables as CSV files for spreadsheets, in which nothing that a visitor wrote becomes a formula."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from litestar import Response

_FORMULA = re.compile(r"^(?=[\t\r\n])|(?:^|(?<=[;\t\r\n]))(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Characters that begin a formula, also in full width; after a separator, too.

A comma may be a decimal separator, and then cells are separated by semicolons.
"""


def csv_file(
    name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> Response[bytes]:
    """A CSV download called `name`, with a byte order mark, by which spreadsheets recognize UTF-8. None is an empty cell."""
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
