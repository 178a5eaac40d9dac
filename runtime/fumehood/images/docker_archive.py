"""An image of the store as the archive that `docker load` takes: same tree, same digests."""

from __future__ import annotations

from fumehood.errors import ImageError
from fumehood.images import oci
from fumehood.images.index import Image
from fumehood.images.layer import Sink, header, write_layer
from fumehood.images.tar import BLOCK


def write(image: Image, config: bytes, tree: int, sink: Sink, tag: str) -> None:
    """Docker checks the layer against the configuration, and takes the configuration's digest as
    the image's ID.

    Raises:
        ImageError: the tree is no longer what the digest promises; the archive is then useless.
    """
    name = image.config.removeprefix("sha256:") + ".json"
    listing = oci.encode([{"Config": name, "RepoTags": [tag] if tag else [], "Layers": [_LAYER]}])
    _file(sink, "manifest.json", listing)
    _file(sink, name, config)
    sink.write(header(_LAYER, b"0", image.size, 0o444, 0, ""))
    layer = write_layer(tree, sink)
    if layer.digest != image.layer or layer.size != image.size:
        raise ImageError(
            f"the tree of {image.name} is not what its digest promises",
            "see `fumehood image verify`, then import the image again",
        )
    sink.write(bytes(-image.size % BLOCK) + bytes(2 * BLOCK))


_LAYER = "layer.tar"


def _file(sink: Sink, name: str, data: bytes) -> None:
    sink.write(header(name, b"0", len(data), 0o444, 0, ""))
    sink.write(data + bytes(-len(data) % BLOCK))
