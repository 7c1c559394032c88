import { readlinkSync } from 'node:fs'
import { systemCode } from './store-error.ts'

/**
 * Where process numbers mean something: two containers on one volume may both be process 7. Empty
 * where there are no namespaces.
 */
export const pidNamespace = (): string => {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? ''
  } catch {
    return ''
  }
}

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it is there, and somebody else's.
    return systemCode(error) !== 'ESRCH'
  }
}
