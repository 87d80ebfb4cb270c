"""What a column of a table of sizes is, told by its heading."""

from __future__ import annotations

import re
import unicodedata

#: What a caller may say that a column of values is.
KINDS = ("undersize", "oversize", "share", "density")

MICROMETRES = {
    "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1e3,
    "cm": 1e4, "in": 25_400.0, "in.": 25_400.0, "inch": 25_400.0, "inches": 25_400.0,
    "zoll": 25_400.0, '"': 25_400.0, "”": 25_400.0, "″": 25_400.0, "micrometer": 1.0,
    "micrometers": 1.0, "micrometre": 1.0, "micrometres": 1.0, "mikrometer": 1.0,
    "nanometer": 1e-3, "millimeter": 1e3, "millimetre": 1e3, "mikron": 1.0,
}  # fmt: skip

LENGTH = (
    r"nm|µm|μm|um|mm|cm|microns?|mikron|mi[ck]romet(?:er|re)s?|nanomet(?:er|re)s?"
    r"|millimet(?:er|re)s?|inch(?:es)?|zoll"
)

_UNIT = re.compile(rf"(?<![a-zµμ])({LENGTH})(?![a-z²³])", re.IGNORECASE)

# "in" is a word too, so it is a unit in brackets or after a number only
_INCH = re.compile(r"[\[(]\s?(in\.?|\"|”|″)\s?[\])]", re.IGNORECASE)

PER_LENGTH = re.compile(rf"(?:1|%)\s?/\s?(?:{LENGTH})|(?:{LENGTH})\s?(?:-1|⁻¹|\^-1)")

# what a heading says, in lower case and without accents on digits; the first that fits decides
_INDEX = (
    r"^(no|nr|n°|#|index|i|lfd\.? ?nr|row|line|record|id|channel|kanal|klasse|class|bin)"
    r"\.?\s?(#|no|nr|number|nummer)?\.?$|channel (number|no\b|#)|kanal(nummer| ?nr)"
)

_OVER = (
    r"over ?size|überkorn|ueberkorn|coarser|gr(ö|oe)(ß|ss)er|greater|larger|bigger|above"
    r"|\bover\b|(cum|kum|total|accum|summe|sum of|akkum).*(retain|r(ü|ue)ckst|residue|refus)"
    r"|(retain|r(ü|ue)ckst|residue|refus).*(cum|kum|summe|total|accum|akkum)"
    r"|(1|100) ?%? ?[-−–] ?[qdf]|% ?>|> ?%|cum[^<]*>|ccdf|survival|>\s?(size|x\b|d\b|stated)"
    r"|^r_?[0-3r]?(\(x\))? ?([\[(/,%]|in %|$)"
)

_UNDER = (
    r"under|below|finer|smaller|\bless|pass|durchgang|unterkorn|kleiner|feiner|tamisat"
    r"|% ?<|< ?%|cum.*<|<\s?(size|x\b|d\b|stated)|^[df]\(x\)"
)

_CUMULATIVE = r"cum|kum|\bcdf\b|summe|accumul|akkumul|perzentil|percentile|quantil|distribution fu"

_SHARE = (
    r"retain|r(ü|ue)ckst|residue|refus|density|dichte|diff|freq|h(ä|ae)ufig|mass|masse|weight"
    r"|gewicht|vol|%|percent|prozent|count|number|anzahl|anteil|fraction|fraktion|share|pdf"
    r"|^[pm]_?[0-3]|^(d|δ|delta) ?q|histogram"
)

PLACES = (
    ("phi", r"\bphi\b|[φϕ]"),
    ("mesh", r"\bmesh\s*(no|number|#|nr)|^(us |u\.s\. |tyler |astm )*mesh\b|mesh$|tyler"
             r"|sieve\s*(no\b|number|#)|sieb(nummer|\s?nr)|^(us |u\.s\. |astm )+(std|standard|s)"),
    ("lower", r"\bx_?u\b|\blow|from\b|\bvon\b|untere|untergr|(\b|_)min\b|≥"),
    ("upper", r"\bx_?o\b|upp|obere|obergr|(\b|_)max\b|\bto\b|\bbis\b"),
    ("centre", r"\bx_?m\b|mid|mean|cent|mitte|mittel|average"),
    ("lower", r"size class|gr(ö|oe)(ß|ss)enklasse|kornklasse"),
    ("size", r"size|diam|^[xd](_?[a-z]{1,4})?\b|opening|aperture|maschen|gr(ö|oe)(ß|ss)e"
             r"|durchmesser|sieve|sieb|mesh|korn|klasse|class|lochweite|tamis|bin\b"),
)  # fmt: skip

SIEVE = r"sieve|sieb|mesh|opening|aperture|maschen|retain|r(ü|ue)ckstand|phi|[φϕ]|tamis|lochweite"

SHARES = ("Q", "R", "cumulative", "share", "density")


def quantity_of(heading: str) -> int | None:
    """Return r as a heading of shares names it, or None.

    Examples
    --------
    >>> quantity_of("Q0 [%]"), quantity_of("Diff. Volume %"), quantity_of("Passing (%)")
    (0, 3, None)
    """
    text = plain_heading(heading)
    digit = re.search(r"(?:^|[^a-z])(?:[qrp]|d ?q|δ ?q)_?([0-3])", text)
    if digit:
        return int(digit[1])
    if re.search(r"vol|mass|weight|gewicht|\(?\bk?g\b", text):
        return 3
    if re.search(r"\bnumber|anzahl|count|partikelzahl", text):
        return 0
    return 2 if re.search(r"surface|oberfl", text) else None


def units_in(text: str) -> set[str]:
    """Return the units of length that a text names, each as ``"nm"``, ``"um"`` or ``"mm"`` etc.

    Examples
    --------
    >>> units_in("Opening [mm]"), units_in("Size (in.)"), units_in("Volume In %")
    ({'mm'}, {'inch'}, set())
    """
    # a density per length names no unit of the sizes
    text = PER_LENGTH.sub(" ", unicodedata.normalize("NFKC", text).lower())
    names = {MICROMETRES[match.lower()] for match in _UNIT.findall(text)}
    names |= {25_400.0 for _ in _INCH.findall(text)}
    return {{1e-3: "nm", 1.0: "um", 1e3: "mm", 1e4: "cm", 25_400.0: "inch"}[v] for v in names}


def plain_heading(heading: str) -> str:
    """A heading in lower case, with plain digits, single blanks and no quotes."""
    # nobody heads a column with more, and the patterns go back and forth in it
    text = unicodedata.normalize("NFKC", heading[:200]).lower()
    return re.sub(r"\s+", " ", text).strip(" \"'")


def role_of(heading: str) -> str:
    """Return what a column is by its heading, "" where nothing tells.

    Examples
    --------
    >>> role_of("Q3 [%]"), role_of("% Pass"), role_of("Kumulierter Rückstand (%)"), role_of("xo/µm")
    ('Q', 'Q', 'R', 'upper')
    """
    text = plain_heading(heading)
    if not text or re.search(_INDEX, text):
        return ""
    given = unicodedata.normalize("NFKC", heading).strip(" \"'")
    if re.match(r"Q_?[0-3r]?(?![a-z])", given):
        return "Q"  # the capital is the sum, the small letter its density
    if re.match(r"q_?[0-3r]?(lg|ln|log|\*)?(?![a-z])", given):
        return "share" if re.match(r"q ?[\[(]?%[\])]?$", given) else "density"
    if re.search(r"^(d|δ|delta) ?[qvnmws]\w{0,8} ?/ ?(d|δ|delta)", text):
        return "density"
    a_length = bool(units_in(text)) and "%" not in text and not PER_LENGTH.search(text)
    if a_length:
        # "Size class" with a unit of length is a size even where "class" or "under" stands in it
        found = next((role for role, pattern in PLACES[2:] if re.search(pattern, text)), "")
        return found or ("" if re.search(r"\bmean|median|mode|std|dev", text) else "size")
    if any(re.search(pattern, text) for role, pattern in PLACES[:2]):
        return next(role for role, pattern in PLACES if re.search(pattern, text))
    for role, pattern in (("R", _OVER), ("Q", _UNDER), ("cumulative", _CUMULATIVE)):
        if re.search(pattern, text):
            return role
    if re.search(_SHARE, text):
        return "density" if re.search(r"density|dichte|pdf", text) else "share"
    return next((role for role, pattern in PLACES if re.search(pattern, text)), "")


def is_bare(cell: str) -> bool:
    """Whether a heading is only a unit or a per cent sign."""
    return bool(
        re.fullmatch(rf"[\[(/\s]*(%|vol-?%|{LENGTH}|in\.?)[\])\s]*", cell.strip(), re.IGNORECASE)
    )
