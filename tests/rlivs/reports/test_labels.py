from rlivs.reports.labels import frame_labels


def test_whole_seconds_stand_alone():
    assert frame_labels([8.0, 10.0, 3600.0]) == ["0:08", "0:10", "1:00:00"]
    # 1/3 frames a second, summed up.
    assert frame_labels([0.0, 2.9999999, 6.0000001]) == ["0:00", "0:03", "0:06"]


def test_one_fraction_gives_all_of_them_tenths():
    assert frame_labels([8.0, 8.5, 9.0]) == ["0:08.0", "0:08.5", "0:09.0"]
    assert frame_labels([0.1 * 3, 3661.25]) == ["0:00.3", "1:01:01.2"]


def test_no_frame_no_label():
    assert frame_labels([]) == []
