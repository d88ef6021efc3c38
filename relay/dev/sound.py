"""A sound to download, so that the links of simulated results lead somewhere."""

import io
import math
import struct
import wave

RATE_HZ = 8000
SECONDS = 0.5
LOUDNESS = 9000  # of 32767
SEMITONE = 2 ** (1 / 12)
BASE_HZ = 440.0


def tone(step: int) -> bytes:
    """Half a second of mono 16-bit WAV, `step` semitones above A4, faded at both ends so that it does not click."""
    frames = int(RATE_HZ * SECONDS)
    pitch_hz = BASE_HZ * SEMITONE ** (step % 24)
    samples = (
        int(LOUDNESS * math.sin(math.pi * frame / frames) * math.sin(2 * math.pi * pitch_hz * frame / RATE_HZ))
        for frame in range(frames)
    )
    kept = io.BytesIO()
    with wave.open(kept, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return kept.getvalue()
