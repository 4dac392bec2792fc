// The home page's charts. Data comes as JSON beside each canvas; colours follow the theme.
(() => {
  "use strict";

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dark = () => document.documentElement.classList.contains("dark");
  const exact = new Intl.NumberFormat("en");
  const brief = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

  const palette = () => ({
    main: style(dark() ? "--color-primary-400" : "--color-primary-600"),
    soft: style(dark() ? "--color-primary-800" : "--color-primary-200"),
    amber: dark() ? "#fdb022" : "#dc8a04",
    red: dark() ? "#f97066" : "#d92d20",
    grey: style(dark() ? "--color-base-700" : "--color-base-300"),
    line: dark() ? "#7cb7f5" : "#2e6fb7",
    text: style(dark() ? "--color-base-300" : "--color-base-600"),
    grid: dark() ? "rgba(255,255,255,.07)" : "rgba(0,0,0,.07)",
  });

  const bars = (series, color, stack) => ({
    type: "bar", label: series.name, data: series.values, unit: series.unit, backgroundColor: color,
    stack, maxBarThickness: 28, categoryPercentage: 0.9, barPercentage: 0.9,
  });
  const line = (series, color, extra) => ({
    type: "line", label: series.name, data: series.values, unit: series.unit, borderColor: color,
    backgroundColor: color, borderWidth: 2, pointRadius: series.values.length > 40 ? 0 : 1.5, pointHitRadius: 8,
    tension: 0.25, spanGaps: true, ...extra,
  });

  const axis = (color, title, more) => ({
    beginAtZero: true, title: { display: Boolean(title), text: title, color: color.text },
    ticks: { color: color.text, callback: (value) => brief.format(value), maxTicksLimit: 6, precision: 0 },
    grid: { color: color.grid }, border: { display: false }, ...more,
  });
  const labels = (color, stacked) => ({
    stacked, ticks: { color: color.text, maxRotation: 0, autoSkipPadding: 14 }, grid: { display: false },
    border: { color: color.grid },
  });

  const kinds = {
    traffic: (data, color) => ({
      datasets: [
        line(data.series[3], color.line, { yAxisID: "tokens", order: 0 }),
        bars(data.series[0], color.main, "requests"),
        bars(data.series[1], color.amber, "requests"),
        bars(data.series[2], color.red, "requests"),
      ],
      scales: {
        x: labels(color, true),
        y: axis(color, "requests", { stacked: true }),
        tokens: axis(color, "tokens", { position: "right", grid: { display: false } }),
      },
    }),
    latency: (data, color) => ({
      datasets: [
        line(data.series[0], color.main),
        line(data.series[1], color.amber),
        line(data.series[2], color.red),
      ],
      scales: { x: labels(color), y: axis(color, "ms") },
    }),
    tenants: (data, color) => ({
      datasets: [{ ...bars(data.series[0], color.main), maxBarThickness: 16 }],
      scales: {
        y: { ...labels(color), ticks: { color: color.text, autoSkip: false,
          callback(value) { const name = this.getLabelForValue(value); return name.length > 22 ? `${name.slice(0, 21)}…` : name; } } },
        x: axis(color, ""),
      },
      options: { indexAxis: "y" },
      legend: false,
      more: (index) => `${exact.format(data.requests[index])} requests`,
    }),
    workers: (data, color) => ({
      datasets: [
        bars(data.series[0], color.main, "time"),
        bars(data.series[1], color.amber, "time"),
        bars(data.series[2], color.grey, "time"),
      ],
      scales: { x: labels(color, true), y: axis(color, "worker-seconds", { stacked: true }) },
    }),
  };

  const open = (data, elements) => {
    const link = elements.length && data.links && data.links[elements[0].index];
    if (link) window.location.assign(link);
  };

  const draw = (canvas) => {
    const name = canvas.dataset.consoleChart;
    const data = JSON.parse(document.getElementById(name).textContent);
    const color = palette();
    const kind = kinds[name](data, color);
    return new Chart(canvas, {
      data: { labels: data.labels, datasets: kind.datasets },
      options: {
        animation: false, responsive: true, maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false, axis: kind.options ? "y" : "x" },
        scales: kind.scales,
        onClick: (_event, elements) => open(data, elements),
        onHover: (event, elements) => {
          event.native.target.style.cursor = data.links && elements.length ? "pointer" : "default";
        },
        plugins: {
          legend: {
            display: kind.legend !== false, align: "start",
            labels: { color: color.text, boxWidth: 10, boxHeight: 10, usePointStyle: true, pointStyle: "rectRounded" },
          },
          tooltip: {
            callbacks: {
              label: (item) => `${item.dataset.label}: ${exact.format(item.raw)} ${item.dataset.unit}`,
              footer: (items) => (kind.more ? kind.more(items[0].dataIndex) : ""),
            },
          },
        },
        ...kind.options,
      },
    });
  };

  window.addEventListener("load", () => {
    const canvases = [...document.querySelectorAll("[data-console-chart]")];
    if (!canvases.length) return;
    Chart.defaults.font.family = "Inter, sans-serif";
    let charts = canvases.map(draw);
    let wasDark = dark();
    new MutationObserver(() => {
      if (dark() === wasDark) return;
      wasDark = dark();
      for (const chart of charts) chart.destroy();
      charts = canvases.map(draw);
    }).observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
  });
})();
