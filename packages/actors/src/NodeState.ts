/**
 * The three axes of a node's state and the only function that moves along each. An illegal move is refused, never made.
 *
 * Life is the drain's; admission decides whether new work is taken, and is what placement reads; the control plane says
 * whether the node may act for the cluster. Every change says from, to, why, by whom, when, and counts up.
 */

/**
 * - `Starting`    not yet able to serve
 * - `Serving`     takes part in the cluster
 * - `Draining`    takes nothing new, serves what it has; can go back to Serving
 * - `Evacuating`  ends what it has, gently; can go back to Serving
 * - `Sealing`     all it served is over; what must be finished (recordings) is being finished; no way back
 * - `Drained`     nothing left; about to end
 * - `Stopped`     ended
 * - `Failed`      ended by a defect
 */
export type Life =
  | "Starting"
  | "Serving"
  | "Draining"
  | "Evacuating"
  | "Sealing"
  | "Drained"
  | "Stopped"
  | "Failed"

/**
 * - `open`      takes new work
 * - `cordoned`  is placed last: takes new work only when no open node can
 * - `closed`    refuses new work with `NodeDraining`
 */
export type Admission = "open" | "cordoned" | "closed"

/**
 * - `connected`  holds its lease
 * - `isolated`   could not renew it in time: serves what it has, decides nothing for the cluster
 */
export type Control = "connected" | "isolated"

const lifeMoves: Readonly<Record<Life, ReadonlyArray<Life>>> = {
  Starting: ["Serving", "Draining", "Stopped", "Failed"],
  Serving: ["Draining", "Evacuating", "Stopped", "Failed"],
  Draining: ["Serving", "Evacuating", "Sealing", "Stopped", "Failed"],
  Evacuating: ["Serving", "Sealing", "Stopped", "Failed"],
  Sealing: ["Drained", "Stopped", "Failed"],
  Drained: ["Stopped", "Failed"],
  Stopped: [],
  Failed: []
}

const admissionMoves: Readonly<Record<Admission, ReadonlyArray<Admission>>> = {
  open: ["cordoned", "closed"],
  cordoned: ["open", "closed"],
  closed: ["open", "cordoned"]
}

const controlMoves: Readonly<Record<Control, ReadonlyArray<Control>>> = {
  connected: ["isolated"],
  isolated: ["connected"]
}

export interface NodeState {
  readonly life: Life
  readonly admission: Admission
  readonly control: Control
}

export type Axis = keyof NodeState

/** Who asked for a change, and why, in words an operator reads. */
export interface Cause {
  readonly by: string
  readonly reason: string
}

/** One move along one axis. `sequence` counts the changes of this state from 1; `atMs` is wall-clock time. */
export interface StateChange extends Cause {
  readonly axis: Axis
  readonly from: string
  readonly to: string
  readonly sequence: number
  readonly atMs: number
}

export const initialState: NodeState = { life: "Starting", admission: "open", control: "connected" }

/** The state after the move, or undefined when the table has no such move. Pure. */
export const transition = <A extends Axis>(
  state: NodeState,
  axis: A,
  to: NodeState[A]
): NodeState | undefined => {
  const moves: ReadonlyArray<string> =
    axis === "life"
      ? lifeMoves[state.life]
      : axis === "admission"
        ? admissionMoves[state.admission]
        : controlMoves[state.control]
  return moves.includes(to) ? { ...state, [axis]: to } : undefined
}

/** May a drain still be taken back from here? */
export const isReversible = (life: Life): boolean => life === "Draining" || life === "Evacuating"

/** Has the actor ended, or will it, whatever is asked of it now? */
export const isOver = (life: Life): boolean =>
  life === "Sealing" || life === "Drained" || life === "Stopped" || life === "Failed"
