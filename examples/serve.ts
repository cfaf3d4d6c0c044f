/**
 * Serves the library to scripts that import it by URL:
 *
 *     deno serve --host 127.0.0.1 --port 8000 --allow-read=. examples/serve.ts
 *     deno run --allow-import=localhost:8000 script.ts
 *
 * Any other server will do if it sends `.ts` files as TypeScript or plain text, and accepts many connections at once.
 */

const root = new URL("..", import.meta.url);

export default {
  async fetch(request: Request): Promise<Response> {
    const path = new URL(request.url).pathname;
    if (!/^\/(mod\.ts$|src\/|kernels\/|ffi\/)/.test(path)) return new Response(null, { status: 404 });
    try {
      const type = path.endsWith(".ts") ? "application/typescript" : "text/plain";
      return new Response(await Deno.readFile(new URL(`.${path}`, root)), {
        headers: { "content-type": type },
      });
    } catch {
      return new Response(null, { status: 404 });
    }
  },
};
