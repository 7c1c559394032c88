/** HTML by template: what is put in is escaped, unless it is HTML already. */
export type Html = { readonly html: string }

type Hole = string | number | Html | readonly Hole[] | undefined

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

const fill = (hole: Hole): string => {
  if (hole === undefined) return ''
  if (Array.isArray(hole)) return hole.map(fill).join('')
  if (typeof hole === 'object') return (hole as Html).html
  return String(hole).replace(/[&<>"']/g, sign => ENTITIES[sign] ?? sign)
}

export const html = (parts: TemplateStringsArray, ...holes: readonly Hole[]): Html => ({
  html: parts.reduce((text, part, i) => text + fill(holes[i - 1]) + part),
})
