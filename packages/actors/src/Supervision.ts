/** How an actor's life ends, and what is done when it ends by a defect. */
import type * as Schedule from "effect/Schedule"
import type { Address } from "./Address.ts"

/** Who ended an actor: it itself, its parent, a defect of its own, or somebody who would not wait. */
export type EndedBy = "itself" | "parent" | "crash" | "kill"

/** The last word about one life of an actor. `by: "lost"` is said of far actors whose process is dead. */
export interface Terminated {
  readonly address: Address
  readonly by: EndedBy | "lost"
  readonly detail: string
}

/**
 * What is done when an actor crashes, that is when one of its handlers or its start died.
 *
 * - `stop`      it ends; its watchers are told
 * - `escalate`  it ends, and its parent crashes with it
 * - `restart`   its children and its scope are ended, and it is started anew after each delay of the schedule, its mailbox kept. A start
 *               that fails counts as another crash. The schedule is that of its life, not of each crash. When the schedule is over, or while it drains: `then`, which is `stop` by default
 */
export type OnCrash =
  | "stop"
  | "escalate"
  | { readonly restart: Schedule.Schedule<unknown>; readonly then?: "stop" | "escalate" }

/** Does a crash that ends the actor crash its parent, too? */
export const escalates = (onCrash: OnCrash): boolean =>
  onCrash === "escalate" || (typeof onCrash === "object" && onCrash.then === "escalate")
