/** The store without the other rooms: for commands that neither ask an upstream nor judge. */
import { jack } from 'jackspeak'
import type { Settings } from '../config/settings.ts'
import { openStore } from '../open-store.ts'
import type { StoreEvent } from '../store/store-event.ts'
import type { Store } from '../store/store.ts'
import type { Io } from './io.ts'
import { configOption, sessionSettings } from './session.ts'

export const storeJack = (usage: string, description: string) =>
  jack({ usage })
    .description(description)
    .opt({
      ...configOption,
      storage: { hint: 'folder', description: 'Where packages and facts are kept.' },
    })
    .flag({
      json: { description: 'Print JSON.' },
      help: { short: 'h', description: 'Print this.' },
    })

export type StoreValues = {
  readonly config?: string | undefined
  readonly storage?: string | undefined
}

/** It may be the storage of a server that runs. */
export const withStore = async <T>(
  values: StoreValues,
  io: Io,
  use: (store: Store, settings: Settings) => Promise<T>,
  log: (event: StoreEvent) => void = () => undefined,
): Promise<T> => {
  const settings = await sessionSettings(values, io)
  const store = await openStore(settings.storage, { log })
  try {
    return await use(store, settings)
  } finally {
    await store.close()
  }
}

/** Two spaces indented; one object, one line break at the end. */
export const jsonText = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`

/** Columns as wide as they need to be, two spaces between; the last one is not padded. */
export const columns = (rows: readonly (readonly string[])[]): string => {
  const widths = (rows[0] ?? []).map((_, i) =>
    Math.max(...rows.map(row => row[i]?.length ?? 0)),
  )
  return rows
    .map(
      row =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}
