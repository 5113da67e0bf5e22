// The scene of browser.js in which operators work: two people, each with a browser and a second factor of their own.
import { createHmac } from "node:crypto";

const PASSWORD = "a long enough password";
const LISTS = [
  ...["markets/market", "markets/marketmetadata", "markets/marketcorrection", "markets/trade", "markets/outboxmessage"],
  ...["oracle/question", "indexer/indexedevent", "operators/auditentry"],
];

/** The code of a base32 secret, `ahead` steps of 30 seconds from now (RFC 6238). */
function code(secret, ahead = 0) {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret.replace(/[=\s]/g, "")].map((letter) => letters.indexOf(letter).toString(2).padStart(5, "0"));
  const key = Buffer.from(bits.join("").match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + ahead));
  const mac = createHmac("sha1", key).update(counter).digest();
  const number = mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

export async function operations({ base, olga, bob, market, screenshots, say, goOn }) {
  const shot = async (page, name) =>
    screenshots && page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
  const marketPage = `${base}/admin/markets/market/${market}/change/`;

  /** Signs in by password, and sets up a second factor; its secret. */
  async function enter(page, name) {
    await page.goto(`${base}/admin/`);
    await page.fill("#id_username", name);
    await page.fill("#id_password", PASSWORD);
    await page.click("input[type=submit]");
    const secret = await page.locator("#secret").textContent();
    if (name === "olga") await shot(page, "01-second-factor");
    await page.fill("#id_code", code(secret));
    await page.click("input[type=submit]");
    await page.locator("#recovery-codes").waitFor();
    return secret;
  }

  /** Waits until the indexer has worked off the repair that the page shows. */
  async function done(page) {
    for (;;) {
      const state = (await page.locator(".field-state .readonly").textContent()).trim();
      if (state !== "queued" && state !== "running") return state;
      await page.waitForTimeout(300);
      await page.reload();
    }
  }

  async function reconcile() {
    await olga.goto(marketPage);
    await olga.click("input[value=Reconcile]");
    const verdict = await olga.locator("#verdict").textContent();
    const different = await olga.locator("tr.is-different th").allTextContents();
    return { verdict, different };
  }

  // A second factor, and a sign-in with it.
  const secret = await enter(olga, "olga");
  await olga.goto(`${base}/admin/`);
  await olga.click("#logout-form button");
  await olga.goto(`${base}/admin/`);
  await olga.fill("#id_username", "olga");
  await olga.fill("#id_password", PASSWORD);
  await olga.fill("#id_code", code(secret, 1));
  await olga.click("input[type=submit]");

  // Home, as it keeps itself fresh.
  await olga.locator("#operations[data-refreshed]").waitFor();
  await olga.locator(".charts .uplot").nth(2).waitFor();
  await shot(olga, "02-home");
  await olga.emulateMedia({ colorScheme: "dark" });
  await olga.waitForTimeout(200);
  await shot(olga, "03-home-dark");
  await olga.emulateMedia({ colorScheme: "light" });
  const home = {
    charts: await olga.locator(".charts .uplot canvas").count(),
    state: await olga.locator('[data-fact="state"] dd').first().textContent(),
    failed: await olga.locator('[data-fact="failed"] dd').first().textContent(),
    trouble: await olga.locator("#trouble").textContent(),
  };
  await olga.waitForFunction(() => Number(document.getElementById("operations").dataset.refreshed) >= 2);

  // A market, found by words.
  await olga.goto(`${base}/admin/markets/market/`);
  await olga.fill("#searchbar", "monsoon");
  await olga.press("#searchbar", "Enter");
  await olga.locator("#searchbar[value=monsoon]").waitFor();
  await shot(olga, "04-search");
  const found = await olga.locator("#result_list tbody tr").count();
  await olga.locator("#result_list tbody th a").first().click();
  await olga.locator('[data-chart="volume"] .uplot').waitFor();
  await shot(olga, "05-market");
  await olga.emulateMedia({ colorScheme: "dark" });
  await olga.waitForTimeout(200);
  await shot(olga, "06-market-dark");
  await olga.emulateMedia({ colorScheme: "light" });

  // Reconciled, read again, and reconciled once more.
  const before = await reconcile();
  await shot(olga, "07-reconciled");
  await olga.click("text=Re-index this market");
  await olga.fill("#id_reason", "The reserves differ");
  await shot(olga, "08-read-again");
  await olga.click("input[value='Ask the indexer']");
  const reindexed = await done(olga);
  await shot(olga, "09-repair");
  const after = await reconcile();
  await shot(olga, "10-reconciled-again");

  // A guarded correction: one person asks, another approves.
  await olga.goto(marketPage);
  await olga.click("text=correct what is shown");
  await olga.selectOption("#id_field", "outcomes");
  await olga.fill("#id_value", "Aye\nNay");
  await olga.fill("#id_reason", "Names of the <b>contract</b>");
  await olga.click("input[value='Show the difference']");
  await shot(olga, "11-difference");
  await olga.click("input[value='Ask for approval']");
  const correction = olga.url();
  await olga.goto(correction.replace("/change/", "/approve/"));
  const own = await olga.locator("input[value=Approve]").count();
  await enter(bob, "bob");
  await bob.goto(correction);
  await bob.locator(".field-steps a", { hasText: "approve" }).click();
  await shot(bob, "12-approve");
  await bob.click("input[value=Approve]");
  const approved = (await bob.locator(".messagelist").textContent()).trim();
  await shot(bob, "13-approved");

  // A failed event, tried again.
  say({ home, found, before, reindexed, after, own, approved });
  await goOn();
  await olga.goto(`${base}/admin/`);
  await olga.locator('[data-fact="failed"][data-state="warn"]').waitFor();
  await olga.click('[data-fact="failed"] a');
  await olga.locator("#result_list tbody th a").first().waitFor();
  await shot(olga, "14-failed-events");
  await olga.locator("#result_list tbody th a").first().click();
  await shot(olga, "15-failed-event");
  await olga.locator(".field-retry_link a").click();
  await olga.click("input[value='Try again']");
  const retried = await done(olga);
  await shot(olga, "16-retried");

  // Everything that shows what a chain or a person said.
  const links = [];
  for (const list of LISTS) {
    await olga.goto(`${base}/admin/${list}/`);
    links.push(...(await olga.locator('a[href^="javascript:" i]').allTextContents()));
  }
  for (const list of ["markets/marketmetadata", "markets/outboxmessage"]) {
    await olga.goto(`${base}/admin/${list}/`);
    await olga.locator("#result_list tbody a").first().click();
    links.push(...(await olga.locator('a[href^="javascript:" i]').allTextContents()));
  }
  await olga.goto(marketPage);
  await olga.locator('[data-chart="volume"] .uplot').waitFor();
  await shot(olga, "17-market-in-the-end");
  const kinds = new Set(await olga.locator(".timeline .tag").allTextContents());
  await olga.goto(`${base}/admin/`);
  await olga.locator(".charts .uplot").nth(2).waitFor();
  await shot(olga, "18-home-in-the-end");
  say({ retried, links, kinds: [...kinds].sort() });
}
