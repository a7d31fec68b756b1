/** remove takes an item out of a list and says whether it was there. */
export function remove<T>(list: T[], item: T): boolean {
  const i = list.indexOf(item)
  if (i >= 0) list.splice(i, 1)
  return i >= 0
}
