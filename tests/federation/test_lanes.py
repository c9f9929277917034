"""Who is served when."""

import asyncio

from attrs import define, field

from federation import lanes
from federation.lanes import DOUBTED, FAST, SLOW, Lanes


@define
class Town:
    """Servers that hang, are quick, or want to be left alone."""

    hanging: set[str] = field(factory=set)
    doubted: set[str] = field(factory=set)
    later: dict[str, int] = field(factory=dict)
    served: list[str] = field(factory=list)
    most: int = 0
    now: int = 1_000
    _inside: int = 0
    _moved: asyncio.Event = field(factory=asyncio.Event)

    async def step(self, name: str) -> int | None:
        self._inside += 1
        self.most = max(self.most, self._inside)
        try:
            if name in self.hanging:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
        finally:
            self._inside -= 1
        self.served.append(name)
        self._moved.set()
        return self.later.get(name)

    def lanes(self) -> Lanes:
        return Lanes(self.step, lambda name: name in self.doubted, lambda: self.now)

    async def until_served(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.served) < count:
                self._moved.clear()
                await self._moved.wait()


async def test_those_that_hang_give_way(monkeypatch):
    monkeypatch.setattr(lanes, "SOON", 0.01)
    town = Town(hanging={f"dead{n}" for n in range(300)})
    served = town.lanes()
    for name in [*town.hanging, *(f"good{n}" for n in range(700))]:
        served.wake(name)
    await town.until_served(700)
    assert len(set(town.served)) == 700
    assert served.busy == 300
    assert town.most <= FAST + SLOW
    await served.close()


async def test_those_that_failed_last_time_take_few_places():
    town = Town(hanging={f"dead{n}" for n in range(200)}, doubted={f"dead{n}" for n in range(200)})
    served = town.lanes()
    for name in [*town.hanging, *(f"good{n}" for n in range(200))]:
        served.wake(name)
    await town.until_served(200)
    assert served.busy == DOUBTED
    await served.close()


async def test_one_at_a_time_and_again_if_woken_meanwhile():
    town = Town()
    served = town.lanes()
    for _ in range(3):
        served.wake("a")
        await asyncio.sleep(0)  # it is being served now
    await town.until_served(2)
    assert (town.most, town.served) == (1, ["a", "a"])


async def test_who_is_left_alone_is_served_when_the_time_comes():
    town = Town(later={"a": 1_040, "b": 900_000})
    served = town.lanes()
    served.wake("a")
    served.wake("b")
    await town.until_served(2)
    assert served.parked == 2
    served.wake("b")
    served.wake("a")
    assert served.is_parked("b")
    town.later = {}
    town.now = 1_050
    await town.until_served(3)
    assert town.served[-1] == "a"
    served.wake("b", at_once=True)
    await town.until_served(4)
    assert (town.served[-1], served.parked) == ("b", 0)


async def test_a_fault_in_one_is_no_fault_of_all():
    town = Town()

    async def step(name: str) -> int | None:
        if name == "bad":
            raise ValueError("a defect")
        return await town.step(name)

    served = Lanes(step, lambda name: False, lambda: town.now)
    served.wake("bad")
    served.wake("good")
    await town.until_served(1)
    assert served.is_parked("bad")
    await served.close()
