"""Logos of kernelspecs that operators bring in ConfigMaps."""

import logging
import shutil

import pytest
from jupyter_client.kernelspec import KernelSpec

from gateway_provisioners.gateway.kernels.logos import Logos
from gateway_provisioners.gateway.kernels.svg import check_svg
from gateway_provisioners.model.kernelspec import LANGUAGES, NO_FOLDER

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>'
PNG = b"\x89PNG\r\n\x1a\n..."
KIB = 1024
NESTED = "".join(f'<!ENTITY e{n} "{"&e" + str(n - 1) + ";" if n else "x" * 9}">' for n in range(9))


def spec(logo, language="bash"):
    return KernelSpec(resource_dir=NO_FOLDER, language=language, metadata={"logo": logo})


@pytest.fixture
def folder(tmp_path):
    """Laid out as the kubelet lays out a projected volume."""
    (tmp_path / "logos" / "..1" / "acme").mkdir(parents=True)
    (tmp_path / "logos" / "..data").symlink_to("..1")
    (tmp_path / "logos" / "acme").symlink_to("..data/acme")
    return tmp_path / "logos"


@pytest.mark.parametrize(
    ("key", "content", "name"),
    [
        ("spark.svg", SVG, "logo-svg.svg"),
        (
            "spark.svg",
            b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a --><!DOCTYPE svg>" + SVG,
            "logo-svg.svg",
        ),
        ("spark.svg", b'<s:svg xmlns:s="http://www.w3.org/2000/svg"/>', "logo-svg.svg"),
        ("spark.svg", SVG.decode().encode("utf-16"), "logo-svg.svg"),
        ("spark.svg", SVG + b" " * (64 * KIB - len(SVG)), "logo-svg.svg"),
        ("Spark_2.0.png", PNG, "logo-64x64.png"),
    ],
)
def test_an_image_is_served_by_the_name_that_clients_know(folder, key, content, name):
    (folder / "acme" / key).write_bytes(content)
    logos = Logos(str(folder))
    assert logos.names(spec(f"acme/{key}")) == [name]
    assert logos.content(spec(f"acme/{key}"), name) == content
    assert logos.content(spec(f"acme/{key}"), key) is None


@pytest.mark.parametrize(
    ("key", "content", "words"),
    [
        ("a.svg", SVG + b" " * (64 * KIB), "it has more than 64 KiB"),
        ("a.svg", b"", "it is not an SVG"),
        ("a.svg", PNG, "it is not an SVG"),
        ("a.svg", b"<html><script>alert(1)</script></html>", "it is not an SVG"),
        ("a.svg", b"<svg width='64'/>", 'its root must be <svg xmlns="http'),
        ("a.svg", b"<?xml version='1.0' encoding='nonsense'?>" + SVG, "it is not an SVG"),
        ("a.svg", f"<!DOCTYPE a [{NESTED}]><a/>".encode(), "it is not an SVG"),
        ("a.svg", b"<!--" * 10_000, "it is not an SVG"),
        ("a.png", SVG, "it is not a PNG (a ConfigMap has pictures other than SVG in `binaryData`)"),
        ("a.png", None, "the gateway's namespace has no such ConfigMap"),
    ],
)
def test_other_content_is_refused_and_logged_once(folder, caplog, key, content, words):
    caplog.set_level(logging.WARNING)
    if content is not None:
        (folder / "acme" / key).write_bytes(content)
    logos = Logos(str(folder))
    for _ in range(3):
        assert logos.names(spec(f"acme/{key}")) == []
    [record] = caplog.records
    assert record.getMessage().startswith(f"The logo acme/{key} is not served: ")
    assert words in record.getMessage()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("<svg {}><script>alert(1)</script></svg>", "remove <script>"),
        ("<svg {}><g><a:script xmlns:a='{ns}'>alert(1)</a:script></g></svg>", "remove <script>"),
        ("<svg {}><foreignObject><p/></foreignObject></svg>", "remove <foreignObject>"),
        ("<svg {}><b xmlns='http://www.w3.org/1999/xhtml'/></svg>", "remove <b>"),
        ("<svg {} onload='alert(1)'/>", "remove the attribute onload"),
        ("<!DOCTYPE svg [<!ATTLIST svg onload CDATA 'alert(1)'>]><svg {}/>", "attribute onload"),
        ("<!DOCTYPE svg [<!ENTITY e '<script/>'>]><svg {}>&e;</svg>", "remove <script>"),
        ("<svg {}><a href=' java&#10;Script:alert(1)'/></svg>", "remove the attribute href"),
        (
            "<svg {0} xmlns:x='http://www.w3.org/1999/xlink'><a x:href='javascript:1'/></svg>",
            "href",
        ),
        ("<svg {}><set attributeName='href' to='javascript:alert(1)'/></svg>", "attribute to"),
        ("<?xml-stylesheet href='#x' type='text/xsl'?><svg {}/>", "remove <?xml-stylesheet?>"),
    ],
)
@pytest.mark.parametrize("place", ["configmap", "folder"])
def test_an_svg_that_is_more_than_a_picture_is_refused(folder, caplog, document, words, place):
    namespace = "http://www.w3.org/2000/svg"
    text = document.format(f'xmlns="{namespace}"', ns=namespace)
    (folder / "acme" / "a.svg").write_text(text)
    (folder / "acme" / "logo-svg.svg").write_text(text)
    shown = KernelSpec(resource_dir=str(folder / "acme"), metadata={})
    chosen = spec("acme/a.svg") if place == "configmap" else shown
    assert Logos(str(folder)).names(chosen) == []
    assert words in caplog.text


def test_what_drawing_programs_add_to_an_svg_is_no_obstacle():
    check_svg(
        b"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [
  <!ENTITY ns_svg "http://www.w3.org/2000/svg">
]>
<svg xmlns="&ns_svg;" xmlns:xlink="http://www.w3.org/1999/xlink"
  xmlns:i="http://inkscape.org/x" i:version="1">
  <metadata><?xpacket begin=""?><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></metadata>
  <style>.a { fill: #fff }</style>
  <defs><path id="p" d="M0 0"/></defs>
  <use xlink:href="#p" class="a"/><image href="data:image/png;base64,AA=="/>
</svg>"""
    )


@pytest.mark.parametrize(
    "logo", ["acme/a.html", "../a.svg", "acme/../a.svg", "a.svg", "acme/x/a.svg", "/a.svg", "cobol"]
)
def test_other_names_are_not_logos(folder, logo):
    for place in (folder, folder.parent, folder / "acme"):
        (place / "a.svg").write_bytes(SVG)
    assert Logos(str(folder)).names(spec(logo)) == []


def test_a_configmap_may_come_change_and_go(folder, caplog):
    """The kubelet exchanges the folder that `..data` leads to."""
    logos, wanted = Logos(str(folder)), spec("acme/a.svg")
    assert logos.names(wanted) == []
    for number in ("2", "3"):
        changed = folder / f"..{number}" / "acme"
        changed.mkdir(parents=True)
        (changed / "a.svg").write_bytes(SVG.replace(b"64", number.encode()))
        (folder / "new").symlink_to(changed.parent.name)
        (folder / "new").rename(folder / "..data")
        assert logos.content(wanted, "logo-svg.svg") == (changed / "a.svg").read_bytes()
    shutil.rmtree(folder / "..3")
    assert logos.names(wanted) == []
    assert logos.content(wanted, "logo-svg.svg") is None
    assert len(caplog.records) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_logos_of_this_project_pass_the_check(language):
    check_svg(Logos("").content(spec(language), "logo-svg.svg"))


def test_without_a_folder_only_the_logos_of_this_project_are_known(caplog):
    assert Logos("").names(spec("acme/a.svg")) == []
    assert Logos("").names(spec("scala")) == ["logo-svg.svg"]
    assert Logos("").names(spec("", "R")) == ["logo-svg.svg"]
    assert not caplog.records
