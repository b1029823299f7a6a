/** The report's style sheet: one look for light and dark pages and for paper. */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1b1f24; --muted: #5c6570; --grid: #dfe3e8; --minor: #f0f2f4; --rule: #c9cfd6; --tile: #f5f7f9;
  --native: #1f63c8; --vm: #dd6b00; --mpich: #16875f; --openmpi: #7d4fc4; --vmtcp: #c02b52; --tcp: #6b7480;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --ink: #e6e9ed; --muted: #a0a9b4; --grid: #2f353d; --minor: #21262c; --rule: #48515c; --tile: #1c2026;
    --native: #6ea8ff; --vm: #ff9f40; --mpich: #45c796; --openmpi: #b491f2; --vmtcp: #f2708f; --tcp: #9aa4b0;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.2rem 1.5rem 3rem; max-width: 76rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.12rem; margin: 2.2rem 0 .5rem; }
p { margin: .4rem 0; max-width: 62rem; }
.muted { color: var(--muted); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .8rem; margin: 1.2rem 0 .4rem; padding: 0; list-style: none; }
.tiles li { background: var(--tile); border-radius: .5rem; padding: .8rem 1rem; }
.tiles strong { display: block; font-size: 1.7rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.2rem 2rem; margin-top: 1.6rem; }
figure { margin: 0; }
figcaption { font-weight: 600; margin-bottom: .5rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit; fill: var(--ink); font-size: 13px; }
svg .tick { fill: var(--muted); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .axis { fill: var(--muted); }
svg .grid { stroke: var(--grid); fill: none; }
svg .minor { stroke: var(--minor); }
svg .frame { stroke: var(--rule); fill: none; }
svg .reference { stroke: var(--ink); fill: none; stroke-width: 1.2; }
svg .line { stroke: currentColor; fill: none; stroke-linejoin: round; }
svg .dashed { stroke-dasharray: 6 4; }
svg .fill { fill: currentColor; }
svg .open { fill: none; stroke: currentColor; stroke-width: 1.8; }
.native { color: var(--native); } .vm { color: var(--vm); } .mpich { color: var(--mpich); }
.openmpi { color: var(--openmpi); } .vmtcp { color: var(--vmtcp); } .tcp { color: var(--tcp); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .16rem .8rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; border-bottom: 1px solid var(--rule); vertical-align: bottom; }
tbody tr:nth-child(4n) td { border-bottom: 1px solid var(--grid); }
.first-ratio { border-left: 1px solid var(--rule); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: .4rem 0; }
dt { color: var(--muted); } dd { margin: 0; }
@media print { body { max-width: none; padding: 0; } figure, tr { break-inside: avoid; } }
`;
