/** Whether a node takes new rooms: what /readyz and the metric say. Not ready does not mean not alive. */
import type { NodeReport } from "./protocol/Node.ts"

/** The three axes; open, as in a report. */
export type NodeAxes = Pick<NodeReport, "life" | "admission" | "control">

/** A cordoned node does, when nobody else can; one that is cut off from the registry decides nothing for the cluster. */
export const isReady = ({ admission, control, life }: NodeAxes): boolean =>
  life === "Serving" && admission !== "closed" && control === "connected"
