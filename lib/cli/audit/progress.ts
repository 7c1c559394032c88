/** A bar on a terminal while work is under way; gone without a trace when it ends. */
import type { Io, Output } from '../io.ts'
import { paintFor, plain, type Paint } from './paint.ts'
import { idOf } from './result.ts'

export type Progress = {
  readonly at: (id: { readonly name: string; readonly version: string }) => void
  readonly step: () => void
  /** So many are done. */
  readonly to: (done: number) => void
  readonly end: () => void
}

export type ProgressOptions = {
  readonly output: Output
  readonly paint: Paint
  readonly title: string
  readonly total: number
  /** Milliseconds; monotonic. */
  readonly clock?: () => number
  /** Milliseconds between two drawings. */
  readonly interval?: number
}

const clear = '\r\u001b[K'

const clockText = (milliseconds: number) => {
  const seconds = Math.floor(milliseconds / 1000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

export type ProgressState = {
  readonly title: string
  readonly done: number
  readonly total: number
  readonly milliseconds: number
  readonly name: string
}

/** One line shorter than the terminal is wide, so that it never breaks. */
export const progressLine = (state: ProgressState, columns: number, paint: Paint): string => {
  const { title, done, total, milliseconds, name } = state
  const rate = milliseconds < 500 ? 0 : done / (milliseconds / 1000)
  const rateText =
    rate === 0 ? '' : rate < 10 ? `${rate.toFixed(1)}/s` : `${Math.round(rate)}/s`
  const told = [`${String(done).padStart(String(total).length)}/${total}`, rateText]
  const figures = [...told, clockText(milliseconds)].filter(text => text !== '').join('  ')
  const size = Math.max(0, Math.min(30, columns - title.length - figures.length - 26))
  const full = total === 0 ? size : Math.floor((done / total) * size)
  const bar = `${paint('green', '━'.repeat(full))}${paint('dim', '─'.repeat(size - full))}`
  const head = size < 5 ? `${title}  ` : `${title}  ${bar}  `
  const used = title.length + 2 + (size < 5 ? 0 : size + 2) + figures.length
  const left = columns - 1 - used - 2
  const shown = plain(name)
  const cut = shown.length > left ? `${shown.slice(0, Math.max(0, left - 1))}…` : shown
  return left < 4 ? `${head}${figures}` : `${head}${figures}  ${paint('dim', cut)}`
}

/** Draws nothing where `output` is no terminal. */
export const openProgress = (options: ProgressOptions): Progress => {
  const { output, paint, title, total, interval = 100 } = options
  const clock = options.clock ?? (() => performance.now())
  if (output.isTTY !== true)
    return { at: () => {}, step: () => {}, to: () => {}, end: () => {} }
  const started = clock()
  let [done, name, last] = [0, '', Number.NEGATIVE_INFINITY]
  const draw = () => {
    const now = clock()
    if (now - last < interval) return
    last = now
    const state = { title, done, total, milliseconds: now - started, name }
    output.write(clear + progressLine(state, output.columns ?? 80, paint))
  }
  // while nothing comes back the clock goes on
  const timer = setInterval(draw, interval)
  timer.unref()
  return {
    at: next => {
      name = idOf(next)
      draw()
    },
    step: () => {
      done++
      draw()
    },
    to: count => {
      done = count
      draw()
    },
    end: () => {
      clearInterval(timer)
      output.write(clear)
    },
  }
}

/** On stderr, while `work` lasts and however it ends. */
export const withProgress = async <T>(
  { stderr, env }: Pick<Io, 'stderr' | 'env'>,
  { title, total }: Pick<ProgressOptions, 'title' | 'total'>,
  work: (progress: Progress) => Promise<T>,
): Promise<T> => {
  const progress = openProgress({ output: stderr, paint: paintFor(stderr, env), title, total })
  try {
    return await work(progress)
  } finally {
    progress.end()
  }
}
