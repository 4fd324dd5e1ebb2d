// What zarrita.js sees of an archive, in Node and in a browser: every value of each variable.
import * as zarr from "zarrita";

export async function readAll(url, names) {
  const root = await zarr.open.v3(zarr.root(new zarr.FetchStore(url)), { kind: "group" });
  const seen = {};
  for (const name of names) {
    const array = await zarr.open.v3(root.resolve(name), { kind: "array" });
    const chunk = await zarr.get(array);
    seen[name] = { shape: chunk.shape, values: Array.from(chunk.data, (v) => (isNaN(v) ? null : v)) };
  }
  return seen;
}
