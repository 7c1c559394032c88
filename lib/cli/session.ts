/** What every command that judges has in common: the same options, the same rooms, the same gate. */
import { jack } from 'jackspeak'
import type { Overrides, Settings } from '../config/settings.ts'
import type { Gate, GateObserver } from '../gate/gate.ts'
import type { Rooms } from '../rooms.ts'
import type { Io } from './io.ts'

/** Where the settings are. */
export const configOption = {
  config: {
    short: 'c',
    hint: 'file',
    description: 'Settings; default ./attestry.yaml if there.',
  },
} as const

/** A parser with the options by which a command finds its settings. Add the command's own to it. */
export const sessionJack = (usage: string, description: string) =>
  jack({ usage })
    .description(description)
    .opt({
      ...configOption,
      storage: { hint: 'folder', description: 'Where packages and facts are kept.' },
      upstream: { hint: 'url', description: 'The registry that packages come from.' },
    })
    .optList({
      policy: { short: 'p', hint: 'file', description: 'Policy file.' },
    })
    .flag({ help: { short: 'h', description: 'Print this.' } })

export type SessionValues = {
  readonly config?: string | undefined
  readonly storage?: string | undefined
  readonly upstream?: string | undefined
  readonly policy?: readonly string[] | undefined
}

/**
 * The settings that a command's options name; more overrides may come from its own options. `held` is
 * taken in place of what the file holds now.
 */
export const sessionSettings = async (
  { config, storage, upstream, policy }: SessionValues,
  io: Io,
  more: Overrides = {},
  held?: string,
): Promise<Settings> => {
  // who only starts the process that will need them does not wait for it
  const { loadSettings } = await import('../config/settings.ts')
  return loadSettings({
    ...(config !== undefined && { file: config }),
    env: io.env,
    cwd: io.cwd,
    ...(held !== undefined && { held }),
    overrides: {
      ...(storage !== undefined && { storage }),
      ...(upstream !== undefined && { upstream }),
      ...(policy !== undefined && { policy }),
      ...more,
    },
  })
}

export type Session = {
  readonly settings: Settings
  readonly rooms: Rooms
  readonly gate: Gate
  readonly close: () => Promise<void>
}

/** The rooms and a gate without a server. It may share its storage with a server that runs. */
export const openSession = async (
  values: SessionValues,
  io: Io,
  observer: GateObserver = {},
): Promise<Session> => {
  const settings = await sessionSettings(values, io)
  const { openRooms } = await import('../rooms.ts')
  const rooms = await openRooms({ settings, observer })
  const gate = rooms.openGate(settings.publicUrl)
  return { settings, rooms, gate, close: rooms.close }
}
