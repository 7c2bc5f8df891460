"""What each fault cost, as a table at the end of the run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    fault: str
    what: str
    recovered_s: float | None
    lost: int | None
    remark: str

    @property
    def line(self) -> str:
        seconds = "" if self.recovered_s is None else f"{self.recovered_s:.2f} s"
        lost = "" if self.lost is None else f"{self.lost} lost"
        return f"{self.fault:<5}{self.what:<52}{seconds:>10}{lost:>9}  {self.remark}".rstrip()


FIGURES: list[Figure] = []


def note(fault: str, what: str, *, recovered_s: float | None = None, lost: int | None = None, remark: str = "") -> None:
    """`recovered_s`: seconds until all was well again. `lost`: requests that were not answered with 200."""
    FIGURES.append(Figure(fault, what, recovered_s, lost, remark))
    print(FIGURES[-1].line)


def table() -> list[str]:
    return [figure.line for figure in sorted(FIGURES, key=lambda figure: (int(figure.fault[1:] or 0), figure.what))]
