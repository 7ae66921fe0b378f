/** How often each control command was answered here, and how: for who asks the node as a NATS service. */
import type { EndpointTally } from "@ebb/actors"

interface Count {
  requests: number
  errors: number
  lastError: string | undefined
  processingMs: number
}

export interface CommandTally {
  /** `outcome` is `ok` or an error's tag. */
  readonly record: (command: string, outcome: string, seconds: number) => void
  readonly of: (command: string) => EndpointTally
}

const none: EndpointTally = { requests: 0, errors: 0, lastError: undefined, processingMs: 0 }

export const makeCommandTally = (): CommandTally => {
  const counts = new Map<string, Count>()
  return {
    record: (command, outcome, seconds) => {
      let count = counts.get(command)
      if (count === undefined) counts.set(command, (count = { ...none }))
      count.requests += 1
      count.processingMs += seconds * 1000
      if (outcome === "ok") return
      count.errors += 1
      count.lastError = outcome
    },
    of: (command) => counts.get(command) ?? none
  }
}
