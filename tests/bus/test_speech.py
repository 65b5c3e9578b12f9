from __future__ import annotations

from bus import Bus
from bus.speech import last_utterance, utterance_before
from contract import Snapshot, Utterance


async def test_a_chain_is_followed_to_its_beginning(bus: Bus) -> None:
    seq = 0
    stored: list[Utterance] = []
    for index in range(3):
        stored.append(Utterance(job="a", index=index, previous_seq=seq, start=index, end=index + 1, pcm=b"ab"))
        seq = await bus.append(stored[-1], seq)
        await bus.publish(Utterance(job="b", index=index, start=0, end=0))  # other jobs are stored in between
    end = Utterance(job="a", index=3, previous_seq=seq, start=9, end=9, last=True)
    assert await utterance_before(bus, end) == stored[2]
    assert await utterance_before(bus, stored[2]) == stored[1]
    assert await utterance_before(bus, stored[1]) == stored[0]
    assert await utterance_before(bus, stored[0]) is None
    speaking = Snapshot(job="a", index=3, previous_seq=seq, start=4, end=5, pcm=b"cd")
    assert await utterance_before(bus, speaking) == stored[2]
    assert (await last_utterance(bus, "a"))[:2] == (stored[2], seq)


async def test_only_the_utterance_before_of_the_same_job_and_generation_is_found(bus: Bus) -> None:
    other_job = await bus.publish(Utterance(job="b", index=0, start=0, end=1))
    other_pass = await bus.publish(Utterance(job="a", generation=3, source="replay", index=0, start=0, end=1))
    garbage = await bus.store("speech.a.1.live", b"garbage")
    twice_before = await bus.publish(Utterance(job="a", index=0, start=0, end=1))
    for seq in (other_job, other_pass, garbage, twice_before, 1_000):
        utterance = Utterance(job="a", index=2, previous_seq=seq, start=1, end=2)
        snapshot = Snapshot(job="a", index=2, previous_seq=seq, start=1, end=2, pcm=b"")
        assert await utterance_before(bus, utterance) is None
        assert await utterance_before(bus, snapshot) is None
