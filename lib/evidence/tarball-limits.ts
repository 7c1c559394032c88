/** Apart from what reads tarballs: the serving thread knows the limits, and other threads read. */
export type TarballLimits = {
  /** Bytes after decompression. */
  readonly unpacked: number
  readonly entries: number
  /** Bytes of package.json. */
  readonly manifest: number
}

/** Far above the largest packages there are. */
export const tarballLimits: TarballLimits = {
  unpacked: 4 * 1024 ** 3,
  entries: 500_000,
  manifest: 8 * 1024 ** 2,
}
