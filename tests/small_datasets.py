"""Tiny data sets in their published layouts, written by hand and not by the code under test.

A tree is {path: bytes}. The image of frame number n, as the layout counts, is gray of level 5 n.
"""

import io
import json
import zipfile

import cv2
import numpy as np

SIZE = (24, 32)  # height, width


def image(number, suffix=".jpg", size=SIZE):
    pixels = np.full((*size, 3), 5 * number % 250, np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def images(folder, numbers, pattern="{:08d}.jpg"):
    names = [pattern.format(number) for number in numbers]
    return {
        f"{folder}/{name}": image(number, name[name.rindex(".") :])
        for name, number in zip(names, numbers, strict=True)
    }


def boxes(count, separator=",", start=0, end="\n"):
    """Lines x, y, w, h = i, 2, 10, 8."""
    rows = [separator.join(map(str, (start + i, 2, 10, 8))) for i in range(count)]
    return ("\n".join(rows) + end).encode()


def lines(values):
    return "".join(f"{value}\n" for value in values).encode()


def lasot_sequence(folder, count=4, occluded=(1,), out_of_view=(2,)):
    flags = [
        ",".join(str(int(i in which)) for i in range(count)) for which in (occluded, out_of_view)
    ]
    return {
        **images(f"{folder}/img", range(1, count + 1)),
        f"{folder}/groundtruth.txt": boxes(count),
        f"{folder}/full_occlusion.txt": flags[0].encode(),
        f"{folder}/out_of_view.txt": flags[1].encode(),
    }


def lasot():
    names = ("airplane-1", "airplane-2", "zebra-10", "zebra-1")
    tree = {"testing_set.txt": b"airplane-1\n"}
    for name in names:
        tree |= lasot_sequence(f"{name.split('-')[0]}/{name}")
    return tree


def lasot_ext():
    return lasot_sequence("atv/atv-1") | lasot_sequence("wingsuit/wingsuit-10")


def got10k_sequence(folder, count=4):
    return {
        **images(folder, range(1, count + 1)),
        f"{folder}/groundtruth.txt": boxes(count).replace(b"10,8", b"10.5,8.0000"),
        f"{folder}/absence.label": lines([0, 1, 0, 0][:count]),
        f"{folder}/cover.label": lines([8, 8, 0, 1][:count]),
        f"{folder}/meta_info.ini": b"[METAINFO]\n",
    }


def got10k():
    train = [f"GOT-10k_Train_{number:06d}" for number in range(1, 9336)]
    # Lines from 0: 0 is vottrain, 1 votval, 4 in neither (its name says 5), 5 vottrain.
    tree = {"train/list.txt": lines(train), "val/list.txt": lines(["GOT-10k_Val_000001"])}
    for line in (0, 1, 4, 5):
        tree |= got10k_sequence(f"train/{train[line]}")
    tree |= got10k_sequence("val/GOT-10k_Val_000001")
    tree |= {"test/list.txt": lines(["GOT-10k_Test_000001"])}
    tree |= images("test/GOT-10k_Test_000001", range(1, 4))
    return tree | {"test/GOT-10k_Test_000001/groundtruth.txt": boxes(1, end="")}


def trackingnet():
    tree = {}
    for chunk, name, count in (("TRAIN_0", "aB-c_0", 12), ("TRAIN_11", "zz_1", 3)):
        tree |= images(f"{chunk}/frames/{name}", range(count), "{}.jpg")
        tree[f"{chunk}/anno/{name}.txt"] = boxes(count)
    tree |= images("TEST/frames/tt_2", range(11), "{}.jpg")
    return tree | {"TEST/anno/tt_2.txt": boxes(1, end="")}


def coco_annotations():
    pictures = [{"id": number, "file_name": f"{number:012d}.jpg"} for number in (9, 25)]
    rows = ((1, 9, [1.5, 2, 10, 8], 0), (2, 9, [0, 0, 60, 51], 0), (3, 25, [0, 0, 9, 9], 1))
    keys = ("id", "image_id", "bbox", "iscrowd")
    items = [dict(zip(keys, row, strict=True)) for row in rows]
    return json.dumps({"images": pictures, "annotations": items}).encode()


def coco():
    tree = images("images/train2017", (9, 25), "{:012d}.jpg")
    return tree | {"annotations/instances_train2017.json": coco_annotations()}


def tnl2k():
    tree = {}
    for split, name in (("train", "a_video"), ("test", "b_video")):
        folder = f"{split}/{name}"
        tree |= images(f"{folder}/imgs", (2,), "B{}.png") | images(
            f"{folder}/imgs", (1,), "A{}.JPG"
        )
        tree |= images(f"{folder}/imgs", (3,), "a{}.jpg")
        tree |= {f"{folder}/groundtruth.txt": boxes(3), f"{folder}/language.txt": b"the cat"}
    return tree


def otb():
    tree = {}
    for name, first, count, pattern in (
        *(("Basketball", 1, 3, "{:04d}.jpg"), ("Board", 1, 2, "{:05d}.jpg")),
        *(("David", 298, 4, "{:04d}.jpg"), ("Jogging", 1, 2, "{:04d}.jpg")),
        *(("KiteSurf", 1, 2, "{:04d}.png"), ("Tiger1", 1, 7, "{:04d}.jpg")),
        ("Human4", 1, 2, "{:04d}.jpg"),
    ):
        tree |= images(f"{name}/img", range(first, first + count), pattern)
    return tree | {
        "Basketball/groundtruth_rect.txt": boxes(3, "\t"),
        "Board/groundtruth_rect.txt": boxes(2, "  "),
        "David/groundtruth_rect.txt": boxes(2),
        "Jogging/groundtruth_rect.1.txt": boxes(2),
        "Jogging/groundtruth_rect.2.txt": boxes(2, start=12),
        "KiteSurf/groundtruth_rect.txt": boxes(2),
        "Tiger1/groundtruth_rect.txt": boxes(7),
        "Human4/groundtruth_rect.1.txt": b"",
        "Human4/groundtruth_rect.2.txt": boxes(2, start=9),
    }


def uav123():
    tree = images("data_seq/UAV123/bird1", (1, 2, 3, 775, 776), "{:06d}.jpg")
    tree |= images("data_seq/UAV123/car1_s", (1, 2), "{:06d}.jpg")
    return tree | {
        "anno/UAV123/bird1_1.txt": b"0,2,10,8\nNaN,NaN,NaN,NaN\n2,2,10,8\n",
        "anno/UAV123/bird1_2.txt": boxes(2),
        "anno/UAV123/car1_s.txt": boxes(2),
        "anno/UAV123/att/bird1_1.txt": b"0,0,1",
    }


def nfs():
    tree = images("sequences/bee", (1, 2), "{:05d}.jpg")
    return tree | {"anno/nfs_bee.txt": boxes(2, "\t")}


def plain_sequence(folder, count=3):
    tree = images(f"{folder}/img", range(1, count + 1), "{}.jpg")
    return tree | {f"{folder}/groundtruth.txt": boxes(count)}


def folders():
    tree = plain_sequence("my dog", 11) | images("absent/img", (1, 2), "{:05d}.png")
    return tree | {"absent/groundtruth.txt": b"nan,nan,nan,nan\r\n1 2 10 8", "notes.txt": b"hi"}


def stills():
    rows = (
        {"file": "a/1.jpg", "boxes": [[1, 2, 10, 8, "cat"], [0, 0, 5, 5, "dog"]], "pseudo": False},
        {"file": "2.jpg", "boxes": []},
        {"file": "3.jpg", "boxes": [[4, 4, 6, 6]], "pseudo": True},
    )
    tree = images("stills/a", (1,), "{}.jpg") | images("stills", (2, 3), "{}.jpg")
    return tree | {"stills.jsonl": lines(map(json.dumps, rows))}


def write_folder(root, tree):
    for path, data in tree.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def zip_bytes(tree, prefix="", compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for path, data in tree.items():
            archive.writestr(prefix + path, data)
    return file.getvalue()
