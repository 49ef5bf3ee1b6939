"""The looks of a page: plain CSS, in the page itself, light and dark."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5c6b7a; --line: #d9e0e7; --page: #f5f7f9; --card: #fff;
  --good: #17753f; --good-back: #e5f4ea; --bad: #a9261e; --bad-back: #fcebe9; --mark: #eef1f5;
  --held: #7a5200; --held-back: #fdf3dc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e9ef; --soft: #9aa8b6; --line: #34404c; --page: #12171d;
    --card: #1a2129;
  --good: #6fd398; --good-back: #14301f; --bad: #ff9a90; --bad-back: #3a1a18; --mark: #28313b;
  --held: #f0c674; --held-back: #362a10; } }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 24px; margin: 0; } h2, h5 { font-size: 16px; margin: 24px 0 6px; } a { color: inherit; }
.facts { color: var(--soft); margin: 2px 0 16px; overflow-wrap: anywhere; }
.verdict { padding: 10px 14px; border-radius: 6px; font-weight: 600; }
    .verdict ul { font-weight: 400; margin: 6px 0 0; }
.good { color: var(--good); background: var(--good-back); } .bad { color: var(--bad); background: var(--bad-back); }
.held { color: var(--held); background: var(--held-back); }
.outcomes { display: flex; flex-wrap: wrap; gap: 12px; margin: 16px 0; }
.outcomes div { flex: 1 1 150px; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
    padding: 10px 14px; }
.outcomes b { display: block; font-size: 22px; font-variant-numeric: tabular-nums; }
    .outcomes span { color: var(--soft); }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line);
    table-layout: fixed; }
.broken, .reasons { margin-top: 16px; } .reasons th:nth-child(2) { width: 80px; text-align: right; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
.broken th:nth-child(2) { width: 130px; } .broken th:nth-child(3) { width: 80px; text-align: right; }
.ge-section th:first-child { width: 60px; } .ge-section th:nth-child(3) { width: 26%; }
.badge { background: var(--mark); border-radius: 4px; padding: 0 5px; font-family: ui-monospace, monospace;
    font-size: 13px; }
.alert p, .m-0 { margin-bottom: 6px; } .text-success { color: var(--good); }
    .text-danger, .text-warning { color: var(--bad); }
.fas { font-style: normal; font-weight: 700; } .fa-check-circle::before { content: "✓"; }
    .fa-times::before { content: "✗"; }
.fa-exclamation-triangle::before { content: "!"; } .mb-3 { margin: 0; }
"""


def frame_page(title: str, body: str) -> str:
    """Put the body of a page, and its title (both HTML), into a document with the pages' looks."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>{body}</main></body></html>\n"
    )
