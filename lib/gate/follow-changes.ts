/** What other processes on the store change, taken over into what this one remembers. */
import type { Changes } from '../store/store.ts'
import type { Documents } from './documents.ts'
import type { Epochs } from './epochs.ts'
import type { EvidenceBook } from './evidence-book.ts'
import type { Packages } from './packages.ts'
import type { VouchBook } from './vouch-book.ts'

export type FollowChangesOptions = {
  readonly changes: Changes
  readonly packages: Packages
  readonly book: EvidenceBook
  readonly documents: Documents
  readonly vouches: VouchBook
  readonly epochs: Epochs
  readonly onError: (error: unknown) => void
}

/** `name rest` or `name@version`, whose name may begin with an @. */
const splitAt = (key: string, mark: string): readonly [string, string] => {
  const at = key.lastIndexOf(mark)
  return at > 0 ? [key.slice(0, at), key.slice(at + 1)] : [key, '']
}

/** Until the returned function is called. */
export const followChanges = (options: FollowChangesOptions): (() => void) => {
  const { changes, packages, book, documents, vouches, epochs, onError } = options
  return changes.subscribe(news => {
    if (news === 'resync') {
      packages.reset()
      book.reset()
      documents.reset()
      vouches.reset()
      epochs.bumpAll()
      return
    }
    const { topic, key } = news
    switch (topic) {
      case 'package': {
        const [name, raw] = splitAt(key, ' ')
        if (packages.changed(name, raw)) epochs.bump(name)
        return
      }
      case 'expired':
        packages.expire(key)
        documents.expire(key)
        epochs.bump(key)
        return
      case 'evidence': {
        const [name, version] = splitAt(key, '@')
        // verdicts from memory end now, and the facts follow
        epochs.bump(name)
        book.changed({ name, version }).catch(onError)
        return
      }
      case 'vouch':
        vouches.changed(key)
        epochs.bump(key)
        return
      default:
    }
  })
}
