"""What a picture looks like, said number by number: upright, eight bits a channel, on white."""


def upright(rows, orientation):
    """Rows of pixels as stored -> rows as shown, by the table of EXIF: which side of the scene the first row is."""
    if orientation in (5, 6, 7, 8):  # the first stored row is the left or the right side
        rows = [list(column) for column in zip(*rows, strict=True)]
    if orientation in (2, 3, 6, 7):
        rows = [row[::-1] for row in rows]
    if orientation in (3, 4, 7, 8):
        rows = rows[::-1]
    return rows


def eight_bits(number, white):
    """The nearest of 0..255 to number / white."""
    return int(number * 255 / white + 0.5)


def on_white(channels, alpha):
    """A pixel over white paper; alpha in 0..255."""
    return tuple((channel * alpha + 255 * (255 - alpha)) / 255 for channel in channels)
