"""How patient the OpenAI connector is, in one place so that tests can shorten it."""

from dataclasses import dataclass

__all__ = ["STOCK_TIMES", "OpenAITimes"]


@dataclass(frozen=True, kw_only=True)
class OpenAITimes:
    """Every time the connector waits for; seconds."""

    #: to reach the server
    connect_s: float = 5.0
    #: for an answer about its health or its models
    look_s: float = 6.0
    #: to the first piece of an answer, or to the whole of one that isn't streamed: it may load a model before
    first_s: float = 900.0
    #: between two pieces of a streamed answer
    gap_s: float = 120.0
    #: for usage figures and the end of the stream, once every choice is finished
    tail_s: float = 5.0
    #: for a made file that the answer only names
    fetch_s: float = 120.0
    #: shortest pause before a busy server is asked again
    busy_least_s: float = 0.5
    #: longest time in all for which a busy server is asked again
    busy_total_s: float = 60.0
    #: progress is reported this far apart
    say_every_s: float = 0.25
    #: how long a list of models stays good
    survey_s: float = 60.0
    #: an idle connection is used again for so long; shorter than servers keep theirs
    idle_s: float = 2.0


STOCK_TIMES = OpenAITimes()
