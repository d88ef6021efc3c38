"""The sound behind simulated links."""

import io
import wave

from relay.dev.sound import RATE_HZ, tone


def test_a_tone_is_a_sound_file_that_can_be_read() -> None:
    with wave.open(io.BytesIO(tone(3))) as sound:
        assert sound.getframerate() == RATE_HZ
        assert sound.getnframes() == RATE_HZ // 2
        assert any(sound.readframes(sound.getnframes()))


def test_steps_sound_different() -> None:
    assert tone(0) != tone(1)
