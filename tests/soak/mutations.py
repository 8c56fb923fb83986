"""Random changes to files and texts: what damage and malice do to them."""

from __future__ import annotations

from random import Random

NUMBERS = (
    *("-1", "0", "-0", "1e999", "nan", "inf", "-inf", "1e-320", "0x7fffffff", "1_000"),
    *("2147483648", "9223372036854775808", "-9223372036854775809", "18446744073709551616"),
    *("100000000000000000000", "9" * 5000, "1.7976931348623157e308", "٣", "½"),
)
TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "\x1b[31m",
        "\n",
        "\r\n",
        "\ufeff",
        "\udcff",
        "\u202e",
        "🧍",
        "null",
        "true",
    ),
    *(
        "true",
        "[]",
        "{}",
        "[[]]",
        "[" * 3000,
        "{" * 3000,
        '"',
        "'",
        "\\",
        ",",
        ";",
        "\t",
        ":",
        "- ",
    ),
    *("&a", "*a", "<<: *a", "!!python/object:os.system x", "${a}", "${oc.env:HOME}", "../../../x"),
    *("=1+1", "[/blue]", "%s", "{0}", "/dev/zero", "9999-12-31T23:59:59Z", "a" * 200_000),
)
BYTES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


def mutated(data: bytes, other: bytes, is_text: bool, random: Random) -> bytes:
    """A changed copy; ``other`` is a file of the same kind, of which parts may be spliced in."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        if is_text and random.random() < 0.7:
            changed = _text_change(changed, random)
        else:
            changed = _byte_change(changed, other, random)
    return bytes(changed)


def _byte_change(data: bytearray, other: bytes, random: Random) -> bytearray:
    if not data:
        return bytearray(random.randbytes(random.randrange(64)))
    # Headers and directories, where the numbers are, lie at the ends.
    near = random.choice((16, 256, len(data)))
    start = random.randrange(min(near, len(data)))
    if random.random() < 0.3:
        start = len(data) - 1 - start
    length = random.choice((1, 2, 4, 8, 64, 1024))
    stop = min(len(data), start + length)
    match random.randrange(9):
        case 0:
            data[start] ^= 1 << random.randrange(8)
        case 1:
            data[start:stop] = bytes([random.choice(BYTES)]) * (stop - start)
        case 2:
            data[start:stop] = random.randbytes(stop - start)
        case 3:
            del data[start:stop]
        case 4:
            del data[start:]
        case 5:
            data[start:start] = data[start:stop] * random.choice((1, 2, 50))
        case 6:
            data[start:start] = random.randbytes(length)
        case 7:
            data[start:stop] = data[start:stop][::-1]
        case _:
            place = random.randrange(max(1, len(other)))
            data[start:stop] = other[place : place + length]
    return data


def _text_change(data: bytearray, random: Random) -> bytearray:
    """Replace a word, a number or a line."""
    text = data.decode("utf-8", "surrogateescape")
    new = random.choice(NUMBERS if random.random() < 0.5 else TEXTS)
    lines = text.split("\n")
    row = random.randrange(len(lines))
    match random.randrange(6):
        case 0:
            lines[row] = new
        case 1:
            lines.insert(row, random.choice(lines))
        case 2:
            del lines[row]
        case 3:
            lines[row] = lines[row] + new
        case 4:
            lines[row] = random.choice(("  ", "\t", "    ")) + lines[row]
        case _:
            parts = lines[row].replace(":", " : ").replace(",", " , ").split(" ")
            parts[random.randrange(len(parts))] = new
            lines[row] = " ".join(parts).replace(" : ", ": ").replace(" , ", ",")
    return bytearray("\n".join(lines).encode("utf-8", "surrogateescape"))
