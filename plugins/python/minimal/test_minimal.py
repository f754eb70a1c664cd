import customize_minimal
from piimg.testing import FakeImage


def test_it_writes_the_note_and_needs_what_it_asks_for(capsys):
    with FakeImage(hostname="box", commands={"htop --version": "htop 3.2.2\nmore\n"}) as image:
        image.run(customize_minimal)
    assert image.read("/etc/piimg-minimal") == "HOSTNAME=box\nFLAVOUR=custom\nRELEASE=bookworm\n"
    assert capsys.readouterr().out == "box is ready with htop 3.2.2\n"
    assert image.needed == image.requested(customize_minimal)
