"""When each id of a station is due, who works on it and how fast its group may go: kept in Redis, lost without harm."""

from relay.schedule.allowance import Allowance
from relay.schedule.connection import connect, eviction_policy
from relay.schedule.epoch import Epoch
from relay.schedule.news import News
from relay.schedule.noticeboard import Noticeboard, UnknownWord
from relay.schedule.timetable import Schedule
from relay.schedule.turns import Turn, Turns
from relay.schedule.values import Counts, Done, Item, Later, Lease, Limits, Share

__all__ = [
    "Allowance",
    "Counts",
    "Done",
    "Epoch",
    "Item",
    "Later",
    "Lease",
    "Limits",
    "News",
    "Noticeboard",
    "Schedule",
    "Share",
    "Turn",
    "Turns",
    "UnknownWord",
    "connect",
    "eviction_policy",
]
