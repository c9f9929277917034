"""In which characters a web page is written, as far as that can be told."""

import re

_DECODED = re.compile(
    r"utf-?8|utf-?16(?:le|be)?|us-ascii|iso-8859-\d{1,2}|windows-125\d|gb2312|gbk|gb18030|big5|euc-jp|shift_jis"
    r"|euc-kr|koi8-[ru]",
    re.ASCII,
)
_HEADER = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_-]{1,40})""", re.ASCII | re.IGNORECASE)
_IN_PAGE = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([A-Za-z0-9_-]{1,40})""", re.IGNORECASE)
_LOOK_WITHIN = 2048
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def decoded(content: bytes, content_type: str) -> str:
    """The page as text. Whatever is broken in it is replaced."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(name, "replace")
    match = _HEADER.search(content_type)
    name = match[1] if match else _named_within(content)
    if not _DECODED.fullmatch(name.lower()):
        name = "utf-8"
    try:
        return content.decode(name, "replace")
    except LookupError:  # iso-8859-17 and its like
        return content.decode("utf-8", "replace")


def _named_within(content: bytes) -> str:
    match = _IN_PAGE.search(content[:_LOOK_WITHIN])
    return match[1].decode() if match else "utf-8"
