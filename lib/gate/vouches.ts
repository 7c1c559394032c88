/** Vouches in the gate: what is kept, as facts, and how it comes in and goes. */
import type { Examiner } from '../evidence/examiner.ts'
import type { Store } from '../store/store.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { Epochs } from './epochs.ts'
import { openVouchBook } from './vouch-book.ts'
import { openVouchRecords } from './vouch-records.ts'
import { openVouching } from './vouching.ts'

export type { Vouching } from './vouching.ts'

export type VouchesOptions = {
  readonly store: Store
  readonly examinerFor: (upstream: string) => Examiner
  readonly upstreamFor: (name: string) => Upstream
  readonly epochs: Epochs
  readonly now: () => Date
}

export const openVouches = ({
  store,
  examinerFor,
  upstreamFor,
  epochs,
  now,
}: VouchesOptions) => {
  const records = openVouchRecords(store, change => store.changes.publish(change))
  const vouchBook = openVouchBook({ records, examinerFor })
  const onChange = (name: string) => {
    vouchBook.changed(name)
    epochs.bump(name)
  }
  return {
    vouchBook,
    vouching: openVouching({ records, examinerFor, upstreamFor, now, onChange }),
  }
}
