import { fromFileUrl } from "@std/path";
import library from "../examples/serve.ts";

/** The repository. */
export const root: string = fromFileUrl(new URL("..", import.meta.url));

/** A server of the repository's files on this machine; disposing stops it. */
export interface RepositoryServer extends AsyncDisposable {
  /** Its address, such as `localhost:8000`. */
  readonly host: string;
  /** The files fetched from it. */
  readonly fetched: readonly string[];
}

/** Serves the repository. */
export function serveRepository(): RepositoryServer {
  const fetched: string[] = [];
  const server = Deno.serve({ hostname: "localhost", port: 0, onListen() {} }, (request) => {
    fetched.push(new URL(request.url).pathname.slice(1));
    return library.fetch(request);
  });
  return {
    host: `localhost:${server.addr.port}`,
    fetched,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Copies this process's npm packages to an empty cache, so that they are not fetched again. */
export async function lendPackages(cache: string): Promise<void> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  await Deno.mkdir(cache);
  await Deno.symlink(JSON.parse(new TextDecoder().decode(stdout)).npmCache, `${cache}/npm`);
}
