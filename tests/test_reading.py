"""Files of points: what they say is read as it is meant, or refused; what was read is shown; sizes are bounded."""

import io
import re
import resource
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from toy_score.data import PointsDataModule
from toy_score.distributions import Points
from toy_score.distributions.reading import read_table
from toy_score.evaluation.doctor import outliers, spacing
from toy_score.schedules import EDM
from toy_score.standardisation import Standardisation

N = 60
XY = np.round(np.random.default_rng(0).normal(size=(N, 2)), 3)
KIND = np.array(["sea", "land", "sky"])[np.arange(N) % 3]


def table(tmp_path, text, *arguments, name="my.csv", **choice):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_table(path, *arguments, **choice)


def rows(*columns, separator=",", header=None):
    lines = [separator.join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join(([header] if header is not None else []) + lines) + "\n"


X, Y = XY.T
COUNT = range(1, N + 1)
QUOTED = [f'"{i}"' for i in COUNT]


@pytest.mark.parametrize(
    "text",
    [
        rows(QUOTED, X, Y, header='"","x","y"'),
        rows(QUOTED, X, Y, separator=" ", header='"x" "y"'),
        rows(range(N), X, Y, header=",width,height"),
        rows(reversed(COUNT), X, Y, header=",width,height"),
        rows(COUNT, X, Y, header="id,width,height"),
        rows(COUNT, X, Y),
        rows(COUNT, X, Y, header="n,x,y"),
    ],
    ids=["write.csv", "write.table", "pandas", "pandas shuffled", "id", "bare", "other name"],
)
def test_row_numbers_are_not_taken_for_x(text, tmp_path):
    read = table(tmp_path, text)
    assert np.array_equal(read.x.numpy(), XY)
    assert read.labels is None or "n,x,y" in text


def test_row_numbers_with_classes_are_skipped_and_a_count_that_may_be_x_is_refused(tmp_path):
    read = table(tmp_path, rows(COUNT, X, Y, KIND, header="id,a,b,kind"))
    assert np.array_equal(read.x.numpy(), XY)
    assert read.names == ["land", "sea", "sky"]
    assert "skipped the row numbers in 'id' (column 1)" in str(read)
    with pytest.raises(ValueError, match=r"column 1 of my.csv counts the rows; it may be x, or row numbers: choose"):
        table(tmp_path, rows(COUNT, X, KIND))
    with pytest.raises(ValueError, match="it has 2 columns; give x, y"):
        table(tmp_path, rows(COUNT, X, header=",value"))


def test_a_third_column_of_many_values_has_the_classes_only_if_it_is_chosen(tmp_path):
    text = rows(X, Y, range(0, 10 * N, 10), header="a,b,height")
    with pytest.raises(ValueError, match=re.escape("'height' (column 3) of my.csv has 60 values in 60 rows")):
        table(tmp_path, text)
    assert len(table(tmp_path, text, label_column="height").names) == N
    assert table(tmp_path, text, columns=["a", "b"]).labels is None


def test_columns_are_chosen_by_name_or_number_classes_by_column_and_rows_by_group(tmp_path):
    text = rows(KIND, Y, X, np.arange(N) % 2, header="kind,lat,lon,year")
    read = table(tmp_path, text, columns=["lon", 2], label_column="kind", group_column="year", group=1)
    assert np.array_equal(read.x.numpy(), XY[1::2])
    assert [read.names[k] for k in read.labels] == list(KIND[1::2])
    assert read.columns == ("lon", "lat")
    said = str(read)
    assert "read 30 points from my.csv" in said
    assert "  lon: from -1.341 to 1.822, mean" in said
    assert "classes: 0 = land (10), 1 = sea (10), 2 = sky (10)" in said
    assert "the rows in which 'year' (column 4) is 1, 30 of 60" in said
    assert np.array_equal(table(tmp_path, text, columns=["3", "lat"]).x.numpy(), XY)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({}, r"it has 4 columns; give x, y and, .* as in --data.columns"),
        ({"columns": ["lon", "lot"]}, "no column 'lot', which columns names; did you mean 'lo"),
        ({"columns": [1, 5]}, "no column 5"),
        ({"columns": ["lon"]}, "columns must name two columns"),
        ({"columns": ["lon", 3]}, "two different columns"),
        ({"columns": ["lon", "lat"], "group_column": "year"}, "group_column needs a group: 'year' .* has 0, 1"),
        ({"columns": ["lon", "lat"], "group_column": "year", "group": 7}, "there is no group '7': .* has 0, 1"),
        ({"columns": ["lon", "lat"], "group": 7}, "group is 7, but no group_column"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(choice, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, rows(KIND, Y, X, np.arange(N) % 2, header="kind,lat,lon,year"), **choice)


def test_columns_named_x_and_y_are_x_and_y_wherever_they_are(tmp_path):
    read = table(tmp_path, rows(KIND, Y, X, COUNT, header="label,Y,X,n"))
    assert np.array_equal(read.x.numpy(), XY)
    assert [read.names[k] for k in read.labels] == list(KIND)
    assert "not read: 'n' (column 4)" in str(read)


def comma(values):
    return [f"{v:.3f}".replace(".", ",") for v in values]


@pytest.mark.parametrize("separator", [";", "\t", " "])
@pytest.mark.parametrize("header", [None, '"Länge"{}"Breite"'])
def test_decimal_commas_are_read_as_decimals(separator, header, tmp_path):
    read = table(tmp_path, rows(comma(X), comma(Y), separator=separator, header=header and header.format(separator)))
    assert np.array_equal(read.x.numpy(), XY)
    assert "decimal commas" in str(read)
    assert read.columns == (("Länge", "Breite") if header else ("x", "y"))


def test_mixed_decimal_commas_and_points_are_refused_and_the_row_is_shown(tmp_path):
    with pytest.raises(ValueError, match=re.escape("row 1 of my.csv is '1,5;2' and row 2 of my.csv is '1;2.5'")):
        table(tmp_path, "1,5;2\n1;2.5\n")
    with pytest.raises(ValueError, match=re.escape("row 2 of my.csv is '1,5;b': 'b' is not a number")):
        table(tmp_path, "1,5;2\n1,5;b\n")
    with pytest.raises(ValueError, match="'1_000' is not a number"):
        table(tmp_path, "1,2\n1_000,2\n")


@pytest.mark.parametrize("first", [f"{N}", f"{N} 2"])
def test_a_first_line_that_counts_the_rows_is_not_a_point(first, tmp_path):
    read = table(tmp_path, rows(X, Y, separator=" ", header=first))
    assert np.array_equal(read.x.numpy(), XY)
    assert f"skipped the first line, which counts {N} rows" in str(read)
    with pytest.raises(ValueError, match=r"row 1 of my.csv is '61', but 60 rows follow"):
        table(tmp_path, rows(X, Y, header="61"))


def test_a_cell_that_is_too_long_is_named_by_its_row(tmp_path):
    for n in (131_073, 200_000):
        with pytest.raises(ValueError, match=f"^row 2 of my.csv has {n + 2} characters"):
            table(tmp_path, "1,2\n1," + n * "2" + "\n")


# Arrays


def test_arrays_beside_the_points_are_read_or_reported(tmp_path):
    path = tmp_path / "my.npz"
    np.savez(path, x=XY, labels=KIND, weights=X, trajectory=np.zeros((2, 3)))
    read = read_table(path)
    assert [read.names[k] for k in read.labels] == list(KIND)
    assert "not read: 'weights' (column 4)" in str(read)
    assert "not read: the array 'trajectory' (2, 3)" in str(read)
    np.savez(path, x=np.c_[XY, np.zeros(N)], labels=KIND)
    with pytest.raises(ValueError, match="has 3 columns in 'x' and an array 'labels'"):
        read_table(path)
    np.savez(path, y=Y, x=X, classes=KIND)
    read = read_table(path)
    assert np.array_equal(read.x.numpy(), XY)
    assert read.names == ["land", "sea", "sky"]
    np.savez(path, x=XY, y=np.arange(N) % 2)
    assert "not read: 'y' (column 3)" in str(read_table(path))
    assert read_table(path, label_column=3).names == ["0", "1"]


def test_fields_of_a_structured_array_are_columns(tmp_path):
    array = np.rec.fromarrays([KIND, Y, X], names="kind,lat,lon")
    np.save(tmp_path / "my.npy", np.array(array))
    read = read_table(tmp_path / "my.npy", ["lon", "lat"], "kind")
    assert np.array_equal(read.x.numpy(), XY)
    assert read.names == ["land", "sea", "sky"]


def bomb(path, member="x.npy", n=1 << 26):
    """Half a gigabyte of zeros, or an array that only declares them."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (n, 2)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(member, "w") as file:
        file.write(header.getvalue())


def test_arrays_that_unpack_to_more_than_the_limit_are_refused_before_they_are_unpacked(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for n in (1 << 26, 10**12):
        bomb(tmp_path / "b.npz", n=n)
        with pytest.raises(ValueError, match=re.escape("b.npz unpacks to more than 256 MiB")):
            read_table(tmp_path / "b.npz")
    bomb(tmp_path / "o.npz", "other.npy")
    with pytest.raises(ValueError, match=r"o.npz unpacks to more than"):
        read_table(tmp_path / "o.npz")
    with zipfile.ZipFile(tmp_path / "o.npz") as archive:
        (tmp_path / "b.npy").write_bytes(archive.read("other.npy"))
    with pytest.raises(ValueError, match=r"b.npy unpacks to more than"):
        read_table(tmp_path / "b.npy")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("huge", [1e200, -1e31, 1.7e308])
def test_coordinates_beyond_float32_are_named_by_their_row(huge, tmp_path):
    x = XY.copy()
    x[3, 1] = huge
    np.save(tmp_path / "my.npy", x)
    with pytest.raises(ValueError, match=r"^row 4 of my.npy .* a coordinate is beyond 1e\+30"):
        read_table(tmp_path / "my.npy")


def test_points_within_a_denormal_distance_are_refused(tmp_path):
    np.save(tmp_path / "my.npy", XY * 1e-310)
    with pytest.raises(ValueError, match=re.escape("all of column 1 of my.npy is within 1e-30 of 0; use another unit")):
        read_table(tmp_path / "my.npy")
    with pytest.raises(ValueError, match=r"the standard deviation of x is .* beyond the range 1e-30 to 1e30"):
        Standardisation.of(torch.tensor(XY * 1e-40))


def test_points_far_from_0_for_their_spread_are_reported(tmp_path):
    np.save(tmp_path / "my.npy", XY + np.array([1.7e9, 0.0]))
    assert "samples are float32, in steps of 2e+02 here; subtract 1.7e+09 from x" in str(
        read_table(tmp_path / "my.npy")
    )
    np.save(tmp_path / "my.npy", XY)
    assert "float32" not in str(read_table(tmp_path / "my.npy"))


# Pictures

CORNER = np.full((4, 8), 255, np.uint8)  # rows, columns: a dark pixel in the upper left corner
CORNER[0, 0] = 0


def middle(path):
    """The mean of the points of a picture with one dark pixel: its middle."""
    x = Points.read(path).points
    assert (x.max(0).values - x.min(0).values).max() <= 1
    return x.mean(0).round(decimals=1).tolist()


@pytest.mark.parametrize(
    ("orientation", "place"),
    list(enumerate([[0, 3], [7, 3], [7, 0], [0, 0], [0, 7], [3, 7], [3, 0], [0, 0]], start=1)),
)
def test_the_orientation_of_a_picture_is_applied(orientation, place, tmp_path):
    """EXIF 2.32, 4.6.4: row 0 and column 0 of the file are, in turn, the sides that follow from the orientation."""
    picture = Image.fromarray(CORNER)
    exif = picture.getexif()
    exif[0x112] = orientation
    picture.save(tmp_path / "my.png", exif=exif)
    assert middle(tmp_path / "my.png") == [place[0] + 0.5, place[1] + 0.5]


def shares(tmp_path, picture, **save):
    """The share of the points in the left one of two pixels."""
    picture.save(tmp_path / "two.png", **save)
    return (Points.read(tmp_path / "two.png").points[:, 0] < 1).double().mean().item()


def test_depth_palette_transparency_and_gamma_of_a_picture_are_applied(tmp_path):
    """A black pixel beside one of half darkness, two points in three on the first; standard error 0.002."""
    expected = pytest.approx(1 / (1 + 127 / 255), abs=0.012)
    grey = np.array([[0, 128]], np.uint8)
    assert shares(tmp_path, Image.fromarray(grey)) == expected
    assert shares(tmp_path, Image.fromarray(grey.astype(np.uint16) * 257)) == expected
    palette = Image.fromarray(np.array([[1, 0]], np.uint8), "P")
    palette.putpalette([128, 128, 128, 0, 0, 0])
    assert shares(tmp_path, palette) == expected
    clear = np.zeros((1, 2, 2), np.uint8)
    clear[0, :, 1] = [255, 127]  # black at half opacity on white
    assert shares(tmp_path, Image.fromarray(clear, "LA")) == expected
    three = np.array([[0, 128, 7]], np.uint8)
    x = Image.fromarray(three)
    x.save(tmp_path / "t.png", transparency=7)
    assert Points.read(tmp_path / "t.png").points[:, 0].max() < 2
    deep = Image.fromarray(three.astype(np.uint16) * 257)
    deep.save(tmp_path / "t.png")
    assert Points.read(tmp_path / "t.png").points[:, 0].max() > 2


def test_the_colour_profile_of_a_picture_is_applied(tmp_path):
    """Grey 128 of the sRGB profile stays what it is, and a broken profile is ignored."""
    rgb = Image.fromarray(np.array([[[0, 0, 0], [128, 128, 128]]], np.uint8))
    plain = shares(tmp_path, rgb)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert shares(tmp_path, rgb, icc_profile=profile) == pytest.approx(plain, abs=0.01)
    assert shares(tmp_path, rgb, icc_profile=b"broken") == plain


@pytest.mark.parametrize("side", [5001, 13_000, 20_000])
def test_a_picture_that_is_too_large_is_refused_before_it_is_unpacked(side, tmp_path):
    Image.new("1", (side, side)).save(tmp_path / "my.png")
    with pytest.raises(ValueError, match=r"^my.png has more than 25 million pixels; make it smaller$"):
        read_table(tmp_path / "my.png")


def test_the_size_of_a_picture_and_that_it_is_mostly_dark_are_reported(tmp_path):
    Image.fromarray(CORNER).save(tmp_path / "my.png")
    assert "drawn from the dark pixels, 3.12% of 8 x 4; the unit is a pixel" in str(read_table(tmp_path / "my.png"))
    Image.fromarray(255 - CORNER).save(tmp_path / "my.png")
    assert "most pixels are dark" in str(read_table(tmp_path / "my.png"))
    with pytest.raises(ValueError, match="is a picture, which has no columns"):
        read_table(tmp_path / "my.png", ["a", "b"])


# The data module and the doctor


def test_the_data_module_reads_the_chosen_columns_and_prints_them(tmp_path, capsys):
    (tmp_path / "my.csv").write_text(rows(KIND, Y, X, header="kind,lat,lon"))
    data = PointsDataModule(str(tmp_path / "my.csv"), columns=["lon", "lat"], label_column="kind")
    data.setup()
    said = capsys.readouterr().out
    assert "read 60 points from my.csv\n  lon: from" in said
    data.setup("validate")
    assert capsys.readouterr().out == ""
    assert list(data.distribution.mode_weights) == ["land", "sea", "sky"]
    known = data.known()
    mean = np.concatenate([known.distribution.points, known.held_out.points]) * known.standardisation.scale
    assert np.allclose(np.sort(mean + known.standardisation.mean, axis=0), np.sort(XY, axis=0), atol=1e-5)
    data.setup("predict")
    assert capsys.readouterr().out == ""


def found(x):
    """What the doctor dislikes of points alone: all of `diagnose` but the prior, which costs it seconds."""
    points = Points(x)
    findings = [spacing(points, EDM(sigma_min=0.01, sigma_max=500.0)), *outliers(points)]
    return {finding.name: finding for finding in findings if not finding.good}


def test_the_doctor_measures_the_distance_between_points_that_are_repeated():
    """A grid of step 0.1, each point five times."""
    side = 0.1 * torch.arange(20.0, dtype=torch.float64)
    x = torch.cartesian_prod(side, side).repeat(5, 1)
    assert Points(x).spacing() == pytest.approx(0.1)
    assert "detail" not in found(x - x.mean(0))


def test_the_doctor_reports_one_far_point_in_500():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(500, 2, generator=g, dtype=torch.float64)
    assert "outliers" not in found(x)
    x[17, 1] = 1e4
    z = Standardisation.of(x)(x)
    finding = found(z)["outliers"]
    assert "y have 100% of its variance; the farthest is 22.3 standard deviations out; that of" in finding.text
    assert "remove them" in finding.advice


@pytest.mark.parametrize("bad", ["1,5 abc", "oops", "3,5"])
def test_a_wrong_row_does_not_change_how_decimal_commas_are_read(bad, tmp_path):
    (tmp_path / "my.csv").write_text("\n".join(["x y", *["1,5 2,25"] * 60, bad]))
    with pytest.raises(ValueError, match=f"row 62 of my.csv is '{bad}'"):
        read_table(tmp_path / "my.csv")


def test_decimal_commas_go_with_classes_that_are_words(tmp_path):
    (tmp_path / "my.csv").write_text("\n".join(["x y kind", *["1,5 2,25 sea", "3,5 4 land"] * 30]))
    table = read_table(tmp_path / "my.csv")
    assert table.x[:2].tolist() == [[1.5, 2.25], [3.5, 4.0]]
    assert table.names == ["land", "sea"]
