/** How the why page looks: light and dark, and on narrow screens with the cells of a row one below the other. */
export const WHY_STYLE = `
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --bad: #c5221f; --good: #188038; --warn: #b06000; }
@media (prefers-color-scheme: dark) { :root { --bad: #f28b82; --good: #81c995; --warn: #fdd663; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; } h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
.verdict { border-left: .4rem solid; padding: .2rem 1rem; font-size: 1.1rem; }
.refuse, .bad { color: var(--bad); } .allow, .good { color: var(--good); } .unavailable, .warn { color: var(--warn); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } .key { overflow-wrap: normal; white-space: nowrap; }
ul { margin: .3rem 0; padding-left: 1.2rem; } ol { padding-left: 1.6rem; }
code, pre { font: .9em ui-monospace, monospace; } small { font-size: .85em; opacity: .85; }
.here td, .here { background: var(--soft); }
pre { background: var(--soft); padding: 1rem; overflow-x: auto; overflow-wrap: normal; }
footer { margin-top: 3rem; opacity: .7; font-size: .85rem; }
@media (max-width: 44rem) {
  table, tbody, tr, td, th[scope=row] { display: block; } th[scope=col] { display: none; }
  tr { border-bottom: 1px solid var(--line); padding: .4rem 0; }
  td, th[scope=row] { border: 0; padding: .1rem .3rem; } td:empty { display: none; }
  td[data-of]::before { content: attr(data-of) ": "; opacity: .7; }
}
`
