/**
 * A service that predicts pictures sent to it, with an exported network (`deno task export --run … --out …`).
 *
 *     deno serve --host 127.0.0.1 --port 8000 --allow-read=flowers.safetensors examples/prediction_service.ts
 *     curl --data-binary @rose.jpg http://127.0.0.1:8000
 */

import { devices, LocalgradError, predict } from "../mod.ts";
import { pictures } from "../src/data/folder/pictures.ts";

const LIMIT = 20e6; // bytes of a picture

const device = await devices.open();
const predictor = await predict.load("flowers.safetensors", { device, decoder: pictures() });

export default {
  async fetch(request: Request): Promise<Response> {
    if (request.method !== "POST") return new Response("POST a picture", { status: 405 });
    const length = request.headers.get("content-length");
    if (length === null) return new Response("the request needs a Content-Length", { status: 411 });
    if (Number(length) > LIMIT) return new Response(`at most ${LIMIT} bytes`, { status: 413 });
    try {
      // Requests that come at the same time share a batch.
      const { top } = await predictor.predict(await request.blob(), { top: 3 });
      return Response.json(top);
    } catch (error) {
      if (!(error instanceof LocalgradError)) throw error;
      return new Response(error.message, { status: 400 }); // such as: the picture is truncated
    }
  },
};
