"""How the page looks: light, dark, on a desk and on a phone."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --bg: #fff; --fg: #1b1f24; --soft: #57606a; --line: #d0d7de; --card: #f6f8fa;
  --good: #116329; --warn: #7d4e00; --bad: #a40e26; --gap: #e4e8ec;
  --delivered: #2da44e; --retry: #bf8700; --refused: #8250df; --dead_letter: #0969da; --halted: #cf222e;
  --aborted: #8c959f; --curve: #0969da; }
@media (prefers-color-scheme: dark) { :root { --bg: #0d1117; --fg: #e6edf3; --soft: #9aa4af; --line: #30363d;
  --card: #161b22; --good: #56d364; --warn: #e3b341; --bad: #ff7b72; --gap: #262c33;
  --delivered: #3fb950; --retry: #d29922; --refused: #a371f7; --dead_letter: #58a6ff; --halted: #f85149;
  --aborted: #6e7681; --curve: #58a6ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--bg); color: var(--fg);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.1rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; } .soft, dt, th { color: var(--soft); } a { color: inherit; } time { white-space: nowrap; }
.state { border: 1px solid var(--line); border-left: .5rem solid var(--tone); border-radius: .4rem;
  background: var(--card); padding: 1rem 1.25rem; margin: 1rem 0; }
.state .sentence { font-size: 1.5rem; line-height: 1.25; font-weight: 600; color: var(--tone); margin: 0 0 .75rem; }
.state dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
.state dt, .state dd { font-size: 1rem; } .state dd p:first-child { margin-top: 0; }
.good { --tone: var(--good); } .warn { --tone: var(--warn); } .bad { --tone: var(--bad); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .5rem; margin: 0; }
.cards div { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .75rem; }
dt { font-size: .85rem; } dd { margin: 0; font-variant-numeric: tabular-nums; } .cards dd { font-size: 1.15rem; }
.cards.text { grid-template-columns: repeat(auto-fill, minmax(16.5rem, 1fr)); } .cards.text dd { font-size: 1rem; }
 dd small { color: var(--soft); font-size: .85rem; display: block; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: .5rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .75rem; }
figcaption { font-size: .85rem; color: var(--soft); } figcaption strong { color: var(--fg); display: block; }
svg { display: block; width: 100%; height: auto; margin: .25rem 0; } svg text { font-size: 11px; fill: var(--soft); }
.axis { stroke: var(--line); } .limit { stroke: var(--bad); stroke-dasharray: 4 3; } .gap { fill: var(--gap); }
.curve { fill: none; stroke: var(--curve); stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
.key { display: inline-block; white-space: nowrap; margin-right: .75rem; font-size: .85rem; }
.key::before { content: ""; display: inline-block; width: .7em; height: .7em; margin-right: .35em;
  background: var(--of); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; min-width: 20rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .75rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap;
  vertical-align: top; }
th { font-weight: 600; font-size: .85rem; } .name { text-align: left; } caption { text-align: left; padding: 0; }
.long { white-space: normal; min-width: 8rem; max-width: 30rem; } footer { margin-top: 2rem; }
@media (max-width: 40rem) { body { padding: .75rem; } .state { padding: .75rem; } .state dl { gap: 0;
  grid-template-columns: 1fr; } .state dd { margin-bottom: .5rem; }
  .cards { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
  .cards.text { grid-template-columns: 1fr; } th, td { padding: .35rem .5rem; }
  .long { min-width: 6.5rem; } }
"""
