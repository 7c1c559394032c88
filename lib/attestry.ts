/** The running proxy: the rooms, and a server in front of them. What a program may embed. */
import { publicUrlOf, type Settings } from './config/settings.ts'
import type { Gate } from './gate/gate.ts'
import { openApp, type AppObserver } from './http/app.ts'
import { listen } from './http/server.ts'
import { openRooms, type Rooms, type RoomsObserver } from './rooms.ts'
import { version } from './version.ts'

export type Observer = RoomsObserver & AppObserver

export type AttestryOptions = {
  readonly settings: Settings
  readonly observer?: Observer
  readonly metrics?: () => Promise<{ readonly type: string; readonly text: string }>
  readonly now?: () => Date
}

export type Attestry = Pick<Rooms, 'store' | 'policies' | 'upstreams'> & {
  /** Where clients reach it; ends with a slash. */
  readonly url: string
  readonly port: number
  readonly gate: Gate
  /** Ends requests under way, background work, threads, connections and the store, in this order. */
  readonly close: () => Promise<void>
}

/** Opens everything and listens. */
export const openAttestry = async (options: AttestryOptions): Promise<Attestry> => {
  const { settings, observer = {}, metrics } = options
  const rooms = await openRooms(options)
  const { store, policies, upstreams, instance, close } = rooms
  const gates: Gate[] = []
  try {
    const { host, port: wanted } = settings.listen
    const server = await listen({
      host,
      port: wanted,
      requestTimeout: settings.server.requestTimeout,
      // the port may be known only now, and addresses are written into what the gate makes
      app: port => {
        const gate = rooms.openGate(
          settings.publicUrlGiven ? settings.publicUrl : publicUrlOf({ host, port }),
        )
        gates.push(gate)
        return openApp({ gate, instance, version, ...(metrics && { metrics }), observer })
      },
    })
    rooms.closeWith(server)
    const [gate] = gates
    if (!gate) throw new Error('a server without a gate')
    return { url: gate.publicUrl, port: server.port, gate, store, policies, upstreams, close }
  } catch (error) {
    await close()
    throw error
  }
}
