"""The programs that build images, where something else is going on with them."""

from ci.engines import find_engine

TAG = "acme/replaced:1.0"
OTHER = "acme/other:1.0"


async def test_images_are_removed_while_a_container_runs_on_one_that_was_replaced(
    cluster, tmp_path
):
    engine = find_engine()
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY content /\n")

    def build(tag, content):
        (tmp_path / "content").write_text(content)
        engine.build(tmp_path, tag, content, {}, {})

    try:
        build(TAG, "old")
        with engine.container(TAG, "1000", {}):
            build(TAG, "new")
            build(OTHER, "other")
            engine.remove(OTHER)
        assert engine.image_id(OTHER) is None
    finally:
        engine.remove(OTHER)
        engine.remove(TAG)
