/** A small SVG bar chart of ratios, on a logarithmic scale around 1. */
import { show } from './statistics.ts'
import type { Chart } from './suite.ts'

const colours: Readonly<Record<string, string>> = {
  attestry: '#2563eb',
  direct: '#94a3b8',
  pnpr: '#d97706',
  verdaccio: '#be123c',
}

const escape = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

const left = 210
const width = 760
const bar = 9

export const svgOf = ({ title, base, bars }: Chart): string => {
  const names = [...new Set(bars.flatMap(({ values }) => [...values.keys()]))].filter(
    name => name !== base,
  )
  const logs = bars.flatMap(({ values }) =>
    [...values.values()].filter(value => value > 0).map(value => Math.log10(value)),
  )
  const low = Math.min(-1, Math.floor(Math.min(...logs)))
  const high = Math.max(1, Math.ceil(Math.max(...logs)))
  const x = (value: number) =>
    left + ((Math.log10(value) - low) / (high - low)) * (width - left - 60)
  const group = names.length * bar + 12
  const height = 60 + bars.length * group
  const text = (at: number, y: number, content: string, more = '') =>
    `<text x="${at.toFixed(1)}" y="${y}" ${more}>${escape(content)}</text>`
  const grid = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)).map(
    value =>
      `<line x1="${x(value).toFixed(1)}" x2="${x(value).toFixed(1)}" y1="46" y2="${height - 6}" stroke="${value === 1 ? '#475569' : '#e2e8f0'}"/>` +
      text(x(value), 42, show(value), 'text-anchor="middle" fill="#64748b"'),
  )
  const legend = names.map((name, i) => {
    const at = left + i * 110
    return `<rect x="${at}" y="20" width="9" height="9" fill="${colours[name] ?? '#64748b'}"/>${text(at + 13, 28, name)}`
  })
  const rows = bars.flatMap(({ label, values }, row) => {
    const top = 52 + row * group
    const middle = top + (names.length * bar) / 2 + 4
    return [
      text(left - 8, middle, label, 'text-anchor="end"'),
      ...names.flatMap((name, i) => {
        const value = values.get(name)
        if (value === undefined || !(value > 0)) return []
        const [from, to] = [Math.min(x(1), x(value)), Math.max(x(1), x(value))]
        const fill = colours[name] ?? '#64748b'
        return [
          `<rect x="${from.toFixed(1)}" y="${top + i * bar}" width="${Math.max(1, to - from).toFixed(1)}" height="${bar - 2}" fill="${fill}"/>`,
          text(to + 4, top + i * bar + 7, show(value), 'font-size="8" fill="#334155"'),
        ]
      }),
    ]
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="10">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(8, 14, `${title}: requests per second, ${base} is 1`, 'font-size="12" fill="#0f172a"'),
    ...legend,
    ...grid,
    ...rows,
    '</svg>',
    '',
  ].join('\n')
}
