/** `s3://bucket/prefix`: how a bucket is named on a command line and in the environment. Endpoint and credentials are never part of it. */

export interface S3Location {
  readonly bucket: string
  /** Empty, or with a `/` at its end. */
  readonly prefix: string
}

const scheme = "s3://"

/** Whether it means a bucket, well named or not; everything else is a folder. */
export const isS3Location = (location: string): boolean => location.startsWith(scheme)

/** Bucket names as S3 has them; a prefix of plain names, so that it can be part of a key and of a URL as it is. */
const pattern = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:\/[A-Za-z0-9._-]+)*)\/?$/

/** Undefined: it cannot be a bucket's. */
export const parseS3Location = (location: string): S3Location | undefined => {
  const [, bucket, prefix] = pattern.exec(location) ?? []
  if (bucket === undefined || prefix === undefined) return undefined
  return { bucket, prefix: prefix === "" ? "" : `${prefix.slice(1)}/` }
}

export const isStoreLocation = (location: string): boolean =>
  location !== "" && (!isS3Location(location) || parseS3Location(location) !== undefined)
