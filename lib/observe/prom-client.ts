/**
 * The parts of prom-client that are used, without its index: that loads its default metrics, and
 * with them OpenTelemetry's API, which together take longer than everything else of it and of us.
 * Its package names no entry points, and the lock pins it; the types are those of its index.
 */
import { createRequire } from 'node:module'
import type * as Client from 'prom-client'

const require = createRequire(import.meta.url)

export const Counter = require('prom-client/lib/counter.js') as typeof Client.Counter
export const Gauge = require('prom-client/lib/gauge.js') as typeof Client.Gauge
export const Histogram = require('prom-client/lib/histogram.js') as typeof Client.Histogram
export const Registry = require('prom-client/lib/registry.js') as typeof Client.Registry
export const AggregatorRegistry =
  require('prom-client/lib/cluster.js') as typeof Client.AggregatorRegistry

export type Counter<T extends string = string> = Client.Counter<T>
export type Gauge<T extends string = string> = Client.Gauge<T>
export type Histogram<T extends string = string> = Client.Histogram<T>
export type Registry = Client.Registry
