"""Boxes and crops, against values worked out by hand."""

import cv2
import numpy as np
import pytest
from PIL import Image

from esiamfc_lib.data import geometry, images
from esiamfc_lib.errors import StudyError


def textured(height=120, width=160, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def test_context_and_search_side():
    # w = 60, h = 20: c = 40, s_z = sqrt(100 * 60)
    assert geometry.context_side(60, 20) == pytest.approx(np.sqrt(6000))
    assert geometry.context_side(50, 50) == pytest.approx(100)
    assert geometry.search_side(127) == pytest.approx(255)


def test_centre_and_corners():
    assert geometry.center([10, 20, 5, 3]).tolist() == [12, 21]
    assert geometry.corners_to_box([0, 0, 319, 239]).tolist() == [0, 0, 320, 240]
    assert geometry.corners_to_box([7, 7, 7, 7]).tolist() == [7, 7, 1, 1]
    box = np.array([[3.5, 4.25, 10, 20]])
    assert np.array_equal(geometry.corners_to_box(geometry.box_to_corners(box)), box)
    assert np.array_equal(geometry.box_around(geometry.center(box), box[:, 2:]), box)
    assert geometry.from_one_based([1, 1, 5, 5]).tolist() == [0, 0, 5, 5]
    assert np.array_equal(geometry.to_one_based(geometry.from_one_based(box)), box)


def test_polygon_to_box():
    # An axis-aligned square from (10, 10) to (20, 20): s = 1.
    assert geometry.polygon_to_box([10, 10, 20, 10, 20, 20, 10, 20]).tolist() == [10, 10, 11, 11]
    # A square on its corner, diagonal 20: area 200 of the bounding 400, s = sqrt(1/2).
    x, y, w, h = geometry.polygon_to_box([10, 0, 20, 10, 10, 20, 0, 10])
    assert w == h == pytest.approx(1 + 20 * np.sqrt(0.5))
    assert x + (w - 1) / 2 == pytest.approx(10) and y + (h - 1) / 2 == pytest.approx(10)
    with pytest.raises(StudyError, match="6 values"):
        geometry.polygon_to_box(range(6))


def test_iou():
    assert geometry.iou([0, 0, 2, 2], [1, 1, 2, 2]) == pytest.approx(1 / 7)
    assert geometry.iou([0, 0, 2, 2], [2, 0, 2, 2]) == 0
    assert geometry.iou([0, 0, 0, 0], [0, 0, 0, 0]) == 0
    assert np.isnan(geometry.iou([np.nan] * 4, [0, 0, 1, 1]))
    assert geometry.iou([[0, 0, 4, 4], [0, 0, 2, 4]], [0, 0, 4, 4]).tolist() == [1, 0.5]


def test_crop_of_same_size_is_the_frame_itself():
    image = textured()
    out = geometry.crop(image, (60, 50), 31, 31)
    assert np.array_equal(out, image[35:66, 45:76])


def test_crop_corners_by_hand():
    """A ramp in x and y: bilinear interpolation is exact, so corner values can be computed."""
    y, x = np.mgrid[:200, :200].astype(np.float64)
    ramp = np.stack([x, y, np.full_like(x, 7)], axis=-1).astype(np.uint8)
    out = geometry.crop(ramp, (100, 90), 51, 255)  # step 0.2
    first, last = 100 - 0.2 * 127, 100 + 0.2 * 127
    assert abs(int(out[0, 0, 0]) - first) <= 1 and abs(int(out[0, 254, 0]) - last) <= 1
    assert abs(int(out[0, 0, 1]) - (first - 10)) <= 1
    assert abs(int(out[254, 0, 1]) - (last - 10)) <= 1
    assert out[127, 127].tolist() == [100, 90, 7]


def test_crop_equals_the_plain_two_step_crop():
    """Pad with the mean, cut whole pixels, resize: the same within one grey level on average."""
    image = textured(240, 320)
    mean = geometry.mean_colour(image)
    for left, top, side in [(40, 30, 90), (-30, -20, 151), (200, 150, 180), (10, 20, 64)]:
        pad = 200
        padded = cv2.copyMakeBorder(
            image, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=[round(v) for v in mean]
        )
        cut = padded[pad + top : pad + top + side, pad + left : pad + left + side]
        plain = cv2.resize(cut, (255, 255), interpolation=cv2.INTER_LINEAR)
        ours = geometry.crop(image, (left + (side - 1) / 2, top + (side - 1) / 2), side, 255)
        difference = np.abs(ours.astype(int) - plain)
        assert difference.mean() < 1, (left, top, side)


def test_outside_the_frame_is_the_mean_colour():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, :20] = (100, 200, 50)
    out = geometry.crop(image, (-100, -100), 50, 63)
    assert np.unique(out.reshape(-1, 3), axis=0).tolist() == [[50, 100, 25]]


def test_crop_many_stacks_single_crops():
    image = textured()
    many = geometry.crop_many(image, (50, 40), [40, 60], 63)
    assert many.shape == (2, 63, 63, 3)
    assert np.array_equal(many[1], geometry.crop(image, (50, 40), 60, 63))


def test_colour_order_is_rgb(tmp_path):
    red = np.zeros((16, 24, 3), np.uint8)
    red[..., 0] = 255
    images.write_image(tmp_path / "red.jpg", red)
    back = images.read_image(tmp_path / "red.jpg")
    assert back[..., 0].min() > 240 and back[..., 2].max() < 15
    assert images.read_size(tmp_path / "red.jpg") == (24, 16)


def test_grey_image_becomes_three_channels(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.jpg"), np.full((8, 8), 77, np.uint8))
    assert images.read_image(tmp_path / "grey.jpg").shape == (8, 8, 3)


def test_unreadable_images(tmp_path):
    whole = images.encode_jpeg(textured())
    for name, data, reason in [
        ("zero.jpg", b"", "empty"),
        ("text.jpg", b"hello", "no image"),
        ("cut.jpg", whole[: len(whole) // 2], "truncated"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(StudyError, match=reason):
            images.read_image(tmp_path / name)
    with pytest.raises(StudyError, match="No such file"):
        images.read_image(tmp_path / "absent.jpg")


@pytest.mark.parametrize(
    "sampling", [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
)
def test_a_jpeg_gives_the_pixels_that_opencv_reads(sampling):
    picture = cv2.GaussianBlur(noise(60, 90), (0, 0), 2)
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])[1].tobytes()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(images.decode_image(data), expected)
    into = np.empty_like(expected)
    images.decode_into(into, memoryview(data))
    assert np.array_equal(into, expected)


def test_grey_png_and_turned_images_are_read_as_well(tmp_path):
    grey = noise(40, 30)[..., 0]
    for suffix in (".jpg", ".png"):
        data = cv2.imencode(suffix, grey)[1].tobytes()
        image = images.decode_image(data)
        assert image.shape == (40, 30, 3) and (image == image[..., :1]).all()
        into = np.zeros((40, 30, 3), np.uint8)
        images.decode_into(into, data)
        assert np.array_equal(into, image)
    # A camera held upright: the orientation in the Exif data is obeyed, as OpenCV does.
    file = Image.fromarray(noise(40, 30))
    exif = file.getexif()
    exif[0x0112] = 6
    file.save(tmp_path / "turned.jpg", exif=exif)
    assert images.read_image(tmp_path / "turned.jpg").shape == (30, 40, 3)


def test_decoding_into_memory_names_what_does_not_fit():
    data = images.encode_jpeg(noise(40, 30))
    for shape in ((41, 30, 3), (30, 40, 3), (20, 20, 3)):
        with pytest.raises(StudyError, match=r"a\.jpg: 30×40 pixels where"):
            images.decode_into(np.empty(shape, np.uint8), data, "a.jpg")
    with pytest.raises(StudyError, match=r"a\.jpg: the file is truncated"):
        images.decode_into(np.empty((40, 30, 3), np.uint8), data[: len(data) // 3], "a.jpg")


def test_four_channels_change_no_value_of_a_crop():
    frame, centre, side = noise(90, 120), np.array([100.3, 40.8]), 77.7
    step = side / 50
    matrix = np.array([[step, 0, centre[0] - step * 24.5], [0, step, centre[1] - step * 24.5]])
    three = cv2.warpAffine(
        frame,
        matrix,
        (50, 50),
        borderValue=(7, 8, 9),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    border = (7.0, 8.0, 9.0)
    assert np.array_equal(geometry.crop(frame, centre, side, 50, border), three)
    four = geometry.four_channels(frame)
    assert np.array_equal(geometry.crop(four, centre, side, 50, border), three)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
