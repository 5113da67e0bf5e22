// Looks at our pages in Chromium. Prints a line of JSON for each thing seen; a line on stdin lets it go on.
import { once } from "node:events";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { operations } from "./operations.js";

const [executablePath, scene, base, marketId, screenshots] = process.argv.slice(2);
const PATIENCE = 60_000; // ms for what takes a moment, on a machine that is busy with other tests
const say = (value) => console.log(JSON.stringify(value));
const lines = createInterface({ input: process.stdin });
const browser = await chromium.launch({
  executablePath,
  args: [
    ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
    ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
  ],
});
const complaints = [];
const elsewhere = [];

/** A page of a browser that shares nothing with the others; what it complains of is noted. */
async function newPage() {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("dialog", (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.host !== new URL(base).host) elsewhere.push(request.url());
  });
  return page;
}

const page = await newPage();

const scenes = {
  /** Prices of a market on /live, before and after a trade. */
  async live() {
    await page.goto(`${base}/live`);
    const card = page.locator(`[data-market="${marketId}"]`);
    const prices = card.locator(".price");
    await prices.first().waitFor();
    const before = await prices.allTextContents();
    say({ state: await page.locator("#state").textContent(), title: await card.locator("h3").textContent(), before });
    await once(lines, "line");
    await page.waitForFunction(
      ([id, shown]) => document.querySelector(`[data-market="${id}"] .price`).textContent !== shown,
      [marketId, before[0]],
    );
    const trade = page.locator("#trades > li").first();
    await trade.waitFor();
    say({
      after: await prices.allTextContents(),
      trades: await page.locator("#trades > li").count(),
      trade: await trade.locator("span").allTextContents(),
      block: await page.locator("#block").textContent(),
      gaps: await page.locator("#gaps").textContent(),
    });
  },

  /** The endpoints that /api/docs lists. */
  async docs() {
    await page.goto(`${base}/api/docs`);
    await page.locator(".opblock").first().waitFor();
    const operations = await page.locator(".opblock").evaluateAll((blocks) =>
      blocks.map((block) => [
        block.querySelector(".opblock-summary-method").textContent.toLowerCase(),
        block.querySelector(".opblock-summary-path").dataset.path,
      ]),
    );
    say({ operations, title: await page.locator(".info .title").textContent() });
  },

  /** An operator asks for a resolution, and a resolver approves it; `marketId` is the question's row. */
  async resolution() {
    const shot = async (name) => screenshots && page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
    const signIn = async (name) => {
      await page.context().clearCookies();
      await page.goto(`${base}/admin/login/`);
      await page.fill("#id_username", name);
      await page.fill("#id_password", "a long enough password");
      await page.click("input[type=submit]");
      await page.locator("#user-tools").waitFor();
    };
    await signIn("ada");
    await page.goto(`${base}/admin/oracle/question/${marketId}/change/`);
    await shot("question");
    await page.click("text=Propose an outcome");
    await page.click("input[name=preview]");
    const errors = await page.locator(".errorlist").allTextContents();
    await page.locator("input[name=winner]").nth(1).check();
    await page.fill("#id_reason", "It <b>happened</b>");
    await shot("form");
    await page.click("input[name=preview]");
    await shot("preview");
    const asked = await page.locator(".would-succeed").allTextContents();
    await page.click("input[name=ask]");
    const waits = await page.locator(".messagelist").textContent();
    await shot("own");
    const approvable = await page.locator("input[value=Approve]").count();
    const request = page.url();
    await signIn("bob");
    await page.goto(request);
    await page.fill("#id_reason", "I saw it too");
    await shot("request");
    await page.click("input[value=Approve]");
    const approved = await page.locator(".messagelist").textContent();
    await shot("approved");
    await page.goto(`${base}/admin/resolver/walletswitch/`);
    await page.fill("#id_reason", "Look at this first");
    await page.click("input[value='Stop the wallet']");
    const stopped = await page.locator(".wallet-line").textContent();
    await shot("switch");
    await page.goto(`${base}/admin/operators/auditentry/`);
    await shot("audit");
    const steps = await page.locator("td.field-action").allTextContents();
    const texts = [errors, asked, [waits, approved, stopped.replace(/\s+/g, " ")].map((text) => text.trim())];
    say({ texts, approvable, steps, ran: await page.evaluate(() => window.hostile ?? null) });
  },

  /** What operators do all day; `marketId` is the market's row. */
  async operations() {
    const goOn = () => once(lines, "line");
    await operations({ base, olga: page, bob: await newPage(), market: marketId, screenshots, say, goOn });
  },

  /** The seed's snippet, on a page of ours. */
  async seed() {
    await page.goto(`${base}/live`);
    await page.exposeFunction("heard", (message) => say(message));
    await page.evaluate(
      ([host, marketId]) => {
        const ws = new WebSocket(`ws://${host}/ws`);
        ws.onopen = () => {
          // Subscribe to market updates
          ws.send(JSON.stringify({
            type: 'subscribe',
            channel: 'market',
            marketId
          }));
          // Subscribe to price updates
          ws.send(JSON.stringify({
            type: 'subscribe',
            channel: 'prices',
            marketId
          }));
        };
        ws.onmessage = (event) => window.heard(JSON.parse(event.data));
      },
      [new URL(base).host, marketId],
    );
    await once(lines, "line");
  },
};

await scenes[scene]();
say({ complaints, elsewhere });
await browser.close();
process.exit();
