"""How patient the ComfyUI connector is, in one place so that tests can shorten it."""

from dataclasses import dataclass

__all__ = ["STOCK_TIMES", "ComfyTimes"]


@dataclass(frozen=True, kw_only=True)
class ComfyTimes:
    """Every time the connector waits for; seconds."""

    #: to reach the server
    connect_s: float = 5.0
    #: between two pieces of an answer; a server that loads a model answers late
    read_s: float = 60.0
    #: first pause between two looks at a running job; doubles up to `poll_s`
    soon_s: float = 0.05
    #: longest pause between two looks
    poll_s: float = 1.0
    #: for the first WebSocket frame; then the job goes on without
    feed_open_s: float = 5.0
    #: a WebSocket silent for longer is opened anew: it may be open and yet dead
    feed_silence_s: float = 10.0
    #: between two attempts to open it
    feed_reopen_s: float = 1.0
    #: how long the server may be out of reach before the job fails
    unreachable_s: float = 30.0
    #: how long the server may know nothing of the job before it counts as forgotten
    lost_after_s: float = 3.0
    #: a running job of which a live WebSocket says nothing for longer is stuck; loading a model can take 10 minutes
    stall_s: float = 1800.0
    #: for a prompt that is being sent when the job is cancelled
    submit_grace_s: float = 3.0
    #: for a cancelled job to leave the server; with `submit_grace_s` below the contract's `CANCEL_GRACE_S`
    cancel_grace_s: float = 20.0
    #: between two looks whether it has left
    cancel_poll_s: float = 0.25
    #: between two pictures of unfinished work
    preview_gap_s: float = 1.0
    #: the server frees memory between two prompts, on a thread of its own; it is given so long to begin
    free_s: float = 0.5
    #: the history of a finished prompt is kept so long: a killed agent's next process collects from it
    history_s: float = 120.0
    #: how long the list of nodes stays good
    survey_s: float = 60.0


STOCK_TIMES = ComfyTimes()
