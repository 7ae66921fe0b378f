/**
 * How a contract is written: `protocol(message(...), ...)`, on the contracts of `effect/rpc`. Only the contracts are used, not its
 * clients and servers: those assume a connection, close the error union, know no deadline, and have no place for a mailbox
 * with a system lane. This file and `internal/rpcSeam` are the only ones that know `effect/rpc`.
 */
export {
  /** Lets a handler's effect run beside the messages after it: `concurrently(Effect...)`. */
  fork as concurrently,
  make as message
} from "effect/rpc/Rpc"
export { make as protocol } from "effect/rpc/RpcGroup"

/** The messages of a protocol: `Messages<typeof Counter>`. */
export type { Rpcs as Messages } from "effect/rpc/RpcGroup"
